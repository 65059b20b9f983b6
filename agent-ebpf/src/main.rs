//! The kernel half of log-capturer: what the agent's process holds open, from `connect` to the last `close`.
//!
//! Entry points only, in the order of a descriptor's life. Those named `enter_` and `exit_` are attached to the tracepoints of
//! system calls; the last ones, from `identify` on, are never attached: the agent runs them by `BPF_PROG_TEST_RUN`.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "see atomic.rs")]

mod atomic;
mod call;
mod connection;
mod descriptor;
mod histogram;
mod kernel;
mod kind;
mod maps;
mod peer;
mod range;
mod table;

use abi::{CENSUS, Call, ERRNOS, SURVEY};
use aya_ebpf::{
    helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user},
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use aya_log_ebpf::{debug, trace};

use crate::{
    call::{Thread, argument, result},
    kernel::AF_UNIX,
    maps::{ANSWERS, CONNECT_ERRORS, MARKER, OPERATIONS, OWNER, WATCHING},
};

/// Of every call that returns a new descriptor: `socket`, `accept`, `openat`, `eventfd2` and their like. A number that is none,
/// as some commands of `bpf` return, does no harm: the table says what it is.
#[tracepoint]
pub fn exit_birth(ctx: TracePointContext) -> u32 {
    if Thread::ours().is_some() {
        let result = result(&ctx);
        if result >= 0 {
            table::settle(result as u32);
        }
    }
    0
}

/// `pipe(pair)`, `pipe2(pair, flags)`
#[tracepoint]
pub fn enter_pipe(ctx: TracePointContext) -> u32 {
    enter_pair(argument(&ctx, 0));
    0
}

/// `socketpair(family, type, protocol, pair)`
#[tracepoint]
pub fn enter_socketpair(ctx: TracePointContext) -> u32 {
    enter_pair(argument(&ctx, 3));
    0
}

#[inline(always)]
fn enter_pair(address: u64) {
    if let Some(thread) = Thread::ours() {
        let _ = thread.enter(Call {
            address,
            ..Call::default()
        });
    }
}

#[tracepoint]
pub fn exit_pair(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    if result(&ctx) == 0 {
        // SAFETY: the helper refuses a bad address instead of faulting.
        if let Ok(pair) = unsafe { bpf_probe_read_user(call.address as *const [u32; 2]) } {
            table::settle(pair[0]);
            table::settle(pair[1]);
        }
    }
    0
}

/// `connect(fd, address, length)`
#[tracepoint]
pub fn enter_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let (fd, address, detail) = (argument(&ctx, 0) as u32, argument(&ctx, 1), argument(&ctx, 2) as u32);
    let _ = thread.enter(Call {
        fd,
        address,
        detail,
        inode: 0,
    });
    0
}

#[tracepoint]
pub fn exit_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    let result = result(&ctx);
    let socket = kernel::socket(call.fd);
    let sk = socket.sk();
    let failed = match socket.stream(sk) {
        0 => return 0,
        AF_UNIX => connection::attempted_unix(thread, &call, socket, sk, result),
        family => connection::attempted_tcp(thread, &call, socket, sk, family, result),
    };
    if failed {
        debug!(&ctx, "connect failed: fd {}, result {}", call.fd, result);
        maps::count(&CONNECT_ERRORS, errno(result));
    } else {
        debug!(&ctx, "connected: fd {} is socket:[{}]", call.fd, socket.inode);
    }
    0
}

/// A signal makes `connect` return one of the kernel's internal ERESTART codes (from 512), seen as EINTR.
fn errno(result: i64) -> u32 {
    let errno = result.unsigned_abs() as u32;
    if errno < ERRNOS { errno } else { EINTR }
}

const EINTR: u32 = 4;

/// `inet_sock_set_state(sk, oldstate, newstate)`: of every TCP socket on the host.
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub fn tcp_state(ctx: RawTracePointContext) -> i32 {
    connection::changed(ctx.arg(0), ctx.arg::<u64>(2) as u32);
    0
}

/// No descriptor: it is more than the table can have.
const NONE: u32 = u32::MAX;

/// `dup(old)`
#[tracepoint]
pub fn enter_dup(ctx: TracePointContext) -> u32 {
    if let Some(thread) = Thread::ours() {
        descriptor::duplicating(thread, argument(&ctx, 0) as u32, NONE);
    }
    0
}

/// `dup2(old, new)`, `dup3(old, new, flags)`: they close `new` first.
#[tracepoint]
pub fn enter_dup2(ctx: TracePointContext) -> u32 {
    if let Some(thread) = Thread::ours() {
        let (old, new) = (argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
        if old != new {
            connection::closing(new);
            table::ending(new);
        }
        descriptor::duplicating(thread, old, new);
    }
    0
}

/// `fcntl(old, command, argument)`
#[tracepoint]
pub fn enter_fcntl(ctx: TracePointContext) -> u32 {
    const F_DUPFD: u32 = 0;
    const F_DUPFD_CLOEXEC: u32 = 1030;
    if let Some(thread) = Thread::ours() {
        let command = argument(&ctx, 1) as u32;
        if command == F_DUPFD || command == F_DUPFD_CLOEXEC {
            descriptor::duplicating(thread, argument(&ctx, 0) as u32, NONE);
        }
    }
    0
}

/// Of dup, dup2, dup3 and fcntl.
#[tracepoint]
pub fn exit_dup(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    let result = result(&ctx);
    if result >= 0 {
        trace!(&ctx, "duplicated: fd {} is socket:[{}]", result, call.inode);
        descriptor::settle(result as u32);
        table::settle(result as u32);
    } else {
        table::kept(call.detail);
    }
    if let Some(held) = connection::owned(call.inode) {
        held.release();
    }
    0
}

/// `shutdown(fd, how)`
#[tracepoint]
pub fn enter_shutdown(ctx: TracePointContext) -> u32 {
    if let Some(thread) = Thread::ours() {
        connection::shutting_down(thread, argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    }
    0
}

#[tracepoint]
pub fn exit_shutdown(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    if let Some(held) = connection::owned(call.inode) {
        if result(&ctx) != 0 {
            held.own_shutdown().clear(u64::from(call.detail));
        }
        held.release();
    }
    0
}

/// `close(fd)`
#[tracepoint]
pub fn enter_close(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let fd = argument(&ctx, 0) as u32;
    connection::closing(fd);
    if thread.enter(Call { fd, ..Call::default() }).is_ok() {
        table::ending(fd);
    }
    0
}

/// Whatever `close` returned: only EBADF means that nothing was closed, and the process's table says so too.
#[tracepoint]
pub fn exit_close(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    let inode = descriptor::connection(call.fd);
    // A cell of 0 needs no settling here: a close makes no connection, and whoever makes one settles the cell himself.
    if inode != 0 {
        trace!(&ctx, "closed: fd {} was socket:[{}]", call.fd, inode);
        descriptor::settle(call.fd);
    }
    if result(&ctx) == 0 {
        table::ended(call.fd);
    } else {
        table::kept(call.fd);
    }
    0
}

/// `close_range(first, last, flags)`
#[tracepoint]
pub fn enter_close_range(ctx: TracePointContext) -> u32 {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    let Some(thread) = Thread::ours() else { return 0 };
    let (first, last) = (argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    if first > last || argument(&ctx, 2) as u32 & CLOSE_RANGE_CLOEXEC != 0 {
        return 0;
    }
    let call = Call {
        fd: first,
        detail: last,
        ..Call::default()
    };
    if thread.enter(call).is_ok() {
        range::ending(first, last);
    }
    0
}

#[tracepoint]
pub fn exit_close_range(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    range::ended(call.fd, call.detail, result(&ctx) == 0);
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
        let Some(answer) = ANSWERS.get_ptr_mut(index) else {
            break;
        };
        // SAFETY: a map's value; the agent does not read it before this program has ended.
        connection::look(first.wrapping_add(index), unsafe { &mut *answer });
    }
    0
}

/// `learn(sample, fd)`: what this kernel's files of that kind have in common.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn learn(ctx: RawTracePointContext) -> i32 {
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

/// `census(first, repair)`: counts this many of the caller's descriptors by kind, and takes in what no hook has seen come.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn census(ctx: RawTracePointContext) -> i32 {
    let (first, repair) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1) != 0);
    if first == 0 {
        table::begin_census();
    }
    // Once for all: should the process get a larger table meanwhile, there is no quiet to count in.
    let table = kernel::Table::now();
    for index in 0..CENSUS {
        table::count(table, first.wrapping_add(index), repair);
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
