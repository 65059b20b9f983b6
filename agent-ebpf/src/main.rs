//! The kernel half of log-capturer: what the agent's process holds open, from `connect` to the last `close`.
//!
//! Entry points only, in the order of a connection's life. All but the last two are attached to the tracepoints of
//! system calls; `identify` and `question` are never attached: the agent runs them by `BPF_PROG_TEST_RUN`.
#![no_std]
#![no_main]
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "see atomic.rs")]

mod atomic;
mod call;
mod connection;
mod descriptor;
mod kernel;
mod maps;
mod peer;

use abi::{Answer, Call, ERRNOS};
use aya_ebpf::{
    helpers::bpf_get_current_pid_tgid,
    macros::{raw_tracepoint, tracepoint},
    programs::{RawTracePointContext, TracePointContext},
};
use aya_log_ebpf::{debug, trace};

use crate::{
    call::{Thread, argument, result},
    maps::{ANSWER, CONNECT_ERRORS, CONNECTING, OWNER},
};

/// `connect(fd, address, length)`
#[tracepoint]
pub fn enter_connect(ctx: TracePointContext) -> u32 {
    if let Some(thread) = Thread::ours() {
        peer::connecting(thread, &ctx);
    }
    0
}

#[tracepoint]
pub fn exit_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(prepared) = CONNECTING.get_ptr_mut(thread.0) else {
        return 0;
    };
    // SAFETY: only its own thread adds or removes this entry.
    let fd = unsafe { (*prepared).opened_fd };
    let result = result(&ctx);
    let socket = kernel::socket(fd);
    if socket.is_unix_stream() {
        if result == 0 {
            debug!(&ctx, "connected: fd {} is socket:[{}]", fd, socket.inode);
            connection::opened(fd, socket.inode, prepared);
        } else {
            debug!(&ctx, "connect failed: fd {}, result {}", fd, result);
            maps::count(&CONNECT_ERRORS, errno(result));
        }
    }
    let _ = CONNECTING.remove(thread.0);
    0
}

/// A signal makes `connect` return one of the kernel's internal ERESTART codes (from 512), seen as EINTR.
fn errno(result: i64) -> u32 {
    let errno = result.unsigned_abs() as u32;
    if errno < ERRNOS { errno } else { EINTR }
}

const EINTR: u32 = 4;

/// `dup(old)`
#[tracepoint]
pub fn enter_dup(ctx: TracePointContext) -> u32 {
    if let Some(thread) = Thread::ours() {
        descriptor::duplicating(thread, argument(&ctx, 0) as u32);
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
        }
        descriptor::duplicating(thread, old);
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
            descriptor::duplicating(thread, argument(&ctx, 0) as u32);
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
            held.own_shutdown().clear(u64::from(call.bits));
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
    let _ = thread.enter(Call { inode: 0, fd, bits: 0 });
    0
}

/// Whatever `close` returned: only EBADF means that nothing was closed, and the table says so too.
#[tracepoint]
pub fn exit_close(ctx: TracePointContext) -> u32 {
    let Some(thread) = Thread::ours() else { return 0 };
    let Some(call) = thread.exit() else { return 0 };
    let inode = descriptor::connection(call.fd);
    if inode != 0 {
        trace!(&ctx, "closed: fd {} was socket:[{}]", call.fd, inode);
    }
    descriptor::settle(call.fd);
    0
}

/// Makes the caller's process the one that is watched. Asked this way, the id is right inside any pid namespace.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn identify(_ctx: RawTracePointContext) -> i32 {
    OWNER.cell().store(bpf_get_current_pid_tgid() >> 32);
    0
}

/// `question(fd, inode)`: what the caller's descriptor looks like now, if it still is that connection.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn question(ctx: RawTracePointContext) -> i32 {
    let (fd, inode) = (ctx.arg::<u64>(0) as u32, ctx.arg::<u64>(1));
    let answer = connection::look(fd, inode).unwrap_or(Answer::NOTHING);
    let _ = ANSWER.set(0, answer, 0);
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
