//! The kernel half of log-capturer: what the agent's process holds open, from `connect` to the last `close`.
//!
//! Entry points only: here those of every tier, in [`tracepoint`] and [`fentry`] those of one. What they do is in [`hooks`], in the order
//! of a descriptor's life. The programs from `identify` on are never attached: the agent runs them by `BPF_PROG_TEST_RUN`.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "see atomic.rs")]
#![expect(
    missing_docs,
    reason = "aya makes public functions of the entry points without a doc"
)]
#![expect(
    unsafe_code,
    reason = "the kernel half reads memory of the kernel and shares its maps among processors"
)]
#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]

mod atomic;
mod call;
mod connection;
mod descriptor;
mod fentry;
mod held;
mod histogram;
mod hooks;
mod kernel;
mod kind;
mod maps;
mod peer;
mod range;
mod table;
mod totals;
mod tracepoint;

use abi::{CENSUS, Cause, SURVEY};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, macros::raw_tracepoint, programs::RawTracePointContext};

use crate::maps::{MARKER, OPERATIONS, OWNER, WALK, WATCHING};

/// `inet_sock_set_state(sk, oldstate, newstate)`: of every TCP socket on the host.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tcp_state(ctx: RawTracePointContext) -> i32 {
    connection::changed(ctx.arg(0), ctx.arg::<u64>(2) as u32);
    0
}

/// Makes the caller's process the one that is watched. Asked this way, the id is right inside any pid namespace.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn identify(_ctx: RawTracePointContext) -> i32 {
    OWNER.cell().store(bpf_get_current_pid_tgid() >> 32);
    0
}

/// Tells the calling thread its outermost id.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn whoami(_ctx: RawTracePointContext) -> i32 {
    if let Some(marker) = MARKER.get_ptr_mut(0) {
        // SAFETY: a map's value; the agent reads it after this program has ended, and lets one thread ask at a time.
        unsafe { (*marker).asked = bpf_get_current_pid_tgid() & u64::from(u32::MAX) };
    }
    0
}

/// `survey(first)`: what this many of the caller's descriptors look like now.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn survey(ctx: RawTracePointContext) -> i32 {
    let first = ctx.arg::<u64>(0) as u32;
    for index in 0..SURVEY {
        connection::look(first.wrapping_add(index), index);
    }
    0
}

/// `calibrate(sample, fd)`: what this kernel's files of that kind have in common.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn calibrate(ctx: RawTracePointContext) -> i32 {
    let (sample, fd) = (ctx.arg::<u64>(0) as usize, ctx.arg::<u64>(1) as u32);
    if let Some(known) = OPERATIONS.get(sample) {
        known.cell().store(kernel::operations(kernel::file(fd)));
    }
    0
}

/// `adopt(first)`: takes in this many of the descriptors that are open already.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn adopt(ctx: RawTracePointContext) -> i32 {
    WATCHING.cell().store(1);
    let first = ctx.arg::<u64>(0) as u32;
    for index in 0..CENSUS {
        table::adopt(first.wrapping_add(index));
    }
    0
}

/// `census(first, repair)`: counts this many of the caller's descriptors by kind, takes in what may come without a hook, and
/// holds the ledger against them.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn census(ctx: RawTracePointContext) -> i32 {
    let (first, repair) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) != 0);
    if first == 0 && !repair {
        table::begin_census();
    }
    table::begin_block();
    // Once for all: should the process get a larger table meanwhile, there is no quiet to count in.
    let table = kernel::Table::now();
    for index in 0..CENSUS {
        table::count(table, first.wrapping_add(index), repair);
    }
    0
}

/// `seek(first, inode)`: whether one of this many of the caller's descriptors is that socket.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn seek(ctx: RawTracePointContext) -> i32 {
    let (first, inode) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1));
    let table = kernel::Table::now();
    let Some(walk) = WALK.get_ptr_mut(0) else { return 0 };
    // SAFETY: a map's value; the agent reads it after this program has ended.
    unsafe {
        (*walk).end = table.max_fds.into();
        (*walk).found = 0;
        for index in 0..CENSUS {
            if kernel::is_found(table, first.wrapping_add(index), inode) {
                (*walk).found = 1;
                break;
            }
        }
    }
    0
}

/// `bury(inode, holders)`: ends a connection's entry that nothing leads to.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn bury(ctx: RawTracePointContext) -> i32 {
    held::bury(ctx.arg(0), ctx.arg(1));
    0
}

/// `let_go(inode)`: of a call that the agent took out of `CALLS`, because it is over and its exit was not seen.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn let_go(ctx: RawTracePointContext) -> i32 {
    maps::repaired(Cause::Call);
    if let Some(held) = held::owned(ctx.arg(0)) {
        held.release();
    }
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// See [`abi::STAMP`].
#[unsafe(link_section = "abi")]
#[unsafe(no_mangle)]
static ABI: [u8; abi::STAMP.len()] = abi::STAMP;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
