//! Atomic changes of map values. rustc's BPF target has no `fetch_add` and `compare_exchange` (`atomic-cas: false`), though the
//! kernel has the instructions (5.12), and LLVM has no atomic load for it: hence intrinsics, and volatile for the loads,
//! which are one aligned instruction.

use core::cell::UnsafeCell;
use core::intrinsics::{
    AtomicOrdering::{Relaxed, SeqCst},
    atomic_and, atomic_cxchg, atomic_or, atomic_xadd, atomic_xsub,
};

/// A `u64` in a map's value, which programs on several processors change.
#[derive(Clone, Copy)]
pub struct Cell(*mut u64);

impl Cell {
    /// # Safety
    /// The pointer is to an aligned `u64` in a map's value. (Such memory is never unmapped while a program runs, and
    /// is changed through cells only.)
    #[inline(always)]
    pub const unsafe fn new(value: *mut u64) -> Self {
        Self(value)
    }

    #[inline(always)]
    pub fn load(self) -> u64 {
        // SAFETY: see `new`; so for all below.
        unsafe { self.0.read_volatile() }
    }

    #[inline(always)]
    pub fn store(self, value: u64) {
        // SAFETY: see `new`.
        unsafe { self.0.write_volatile(value) }
    }

    /// Adds one, telling nothing.
    #[inline(always)]
    pub fn count(self) {
        // SAFETY: see `new`.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(self.0, 1) };
    }

    /// Adds, telling nothing.
    #[inline(always)]
    pub fn add(self, value: u64) {
        // SAFETY: see `new`.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(self.0, value) };
    }

    /// Subtracts one; tells what was there before.
    #[inline(always)]
    pub fn decrement(self) -> u64 {
        // SAFETY: see `new`.
        unsafe { atomic_xsub::<u64, u64, { SeqCst }>(self.0, 1) }
    }

    /// Sets bits; tells which were set before.
    #[inline(always)]
    pub fn set(self, bits: u64) -> u64 {
        // SAFETY: see `new`.
        unsafe { atomic_or::<u64, u64, { SeqCst }>(self.0, bits) }
    }

    #[inline(always)]
    pub fn clear(self, bits: u64) {
        // SAFETY: see `new`.
        unsafe { atomic_and::<u64, u64, { SeqCst }>(self.0, !bits) };
    }

    /// Replaces `old` by `new`, or tells what is there instead.
    #[inline(always)]
    pub fn replace(self, old: u64, new: u64) -> Result<(), u64> {
        // SAFETY: see `new`.
        match unsafe { atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(self.0, old, new) } {
            (_, true) => Ok(()),
            (now, false) => Err(now),
        }
    }
}

/// A global variable.
pub struct Global(UnsafeCell<u64>);

// SAFETY: reached through `cell` only.
unsafe impl Sync for Global {}

impl Global {
    pub const fn new(value: u64) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline(always)]
    pub const fn cell(&self) -> Cell {
        Cell(self.0.get())
    }
}
