//! An array of the kernel's as memory of ours: a thousand values are read without a system call.

#![expect(unsafe_code, reason = "memory is shared with the kernel")]

use std::{io, marker::PhantomData, os::fd::AsFd, ptr};

use aya::Pod;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub(super) struct Mapped<T> {
    values: *const T,
    len: usize,
    kind: PhantomData<T>,
}

// SAFETY: memory of the kernel's, read and written as a whole.
unsafe impl<T: Pod> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Pod> Sync for Mapped<T> {}

impl<T: Pod> Mapped<T> {
    /// The kernel rounds the values of an array up to this, and so they must be.
    const ALIGNED: () = assert!(size_of::<T>().is_multiple_of(8));

    /// `map` is an array of `len` such values, made with `BPF_F_MMAPABLE`.
    pub(super) fn new(map: impl AsFd, len: usize) -> io::Result<Self> {
        Self::with(map, len, ProtFlags::READ)
    }

    fn with(map: impl AsFd, len: usize, protection: ProtFlags) -> io::Result<Self> {
        const { Self::ALIGNED };
        // SAFETY: a new mapping, at an address of the kernel's choice.
        let values = unsafe {
            mmap(
                ptr::null_mut(),
                len * size_of::<T>(),
                protection,
                MapFlags::SHARED,
                map,
                0,
            )
        }?;
        Ok(Self {
            values: values.cast(),
            len,
            kind: PhantomData,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<T> {
        // SAFETY: within the mapping, which is aligned to a page. Volatile, as the kernel writes when it likes: a value of
        // 8 bytes comes whole; a larger one only while no program writes to it.
        (index < self.len).then(|| unsafe { self.values.add(index).read_volatile() })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`; values are only ever copied out.
        let _ = unsafe { munmap(self.values.cast_mut().cast(), self.len * size_of::<T>()) };
    }
}

/// The same, where the agent writes.
pub(super) struct Writable<T>(Mapped<T>);

impl<T: Pod> Writable<T> {
    pub(super) fn new(map: impl AsFd, len: usize) -> io::Result<Self> {
        Mapped::with(map, len, ProtFlags::READ | ProtFlags::WRITE).map(Self)
    }

    pub(super) fn get(&self, index: usize) -> Option<T> {
        self.0.get(index)
    }

    pub(super) fn set(&self, index: usize, value: T) {
        if index < self.0.len {
            // SAFETY: within the mapping, which is writable. Volatile: a program may read it.
            unsafe { self.0.values.cast_mut().add(index).write_volatile(value) };
        }
    }
}
