//! Tier `tracepoint`: at the tracepoints of system calls, `syscalls:sys_enter_*` and `sys_exit_*`.

use abi::Call;
use aya_ebpf::{helpers::bpf_probe_read_user, macros::tracepoint, programs::TracePointContext};

use crate::{
    call::{self, Thread, argument, ours, result},
    connection, hooks, range, table,
};

/// The return of every call that gives a new descriptor: `socket`, `accept`, `openat`, `eventfd2` and their like.
#[tracepoint]
pub fn exit_birth(ctx: TracePointContext) -> u32 {
    if ours!("exit_birth").is_some() {
        hooks::born(result(&ctx));
    }
    0
}

/// `pipe(pair)`, `pipe2(pair, flags)`
#[tracepoint]
pub fn enter_pipe(ctx: TracePointContext) -> u32 {
    enter_pair(ours!("enter_pipe"), argument(&ctx, 0));
    0
}

/// `socketpair(family, type, protocol, pair)`
#[tracepoint]
pub fn enter_socketpair(ctx: TracePointContext) -> u32 {
    enter_pair(ours!("enter_socketpair"), argument(&ctx, 3));
    0
}

#[inline(always)]
fn enter_pair(thread: Option<Thread>, address: u64) {
    if let Some(thread) = thread {
        let _ = thread.enter(Call {
            address,
            name: call::PAIR,
            ..Call::default()
        });
    }
}

#[tracepoint]
pub fn exit_pair(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("exit_pair") else { return 0 };
    let Some(call) = thread.exit(call::PAIR) else { return 0 };
    if result(&ctx) == 0 {
        // SAFETY: the helper refuses a bad address instead of faulting.
        if let Ok(pair) = unsafe { bpf_probe_read_user(call.address as *const [u32; 2]) } {
            table::settle(pair[0]);
            table::settle(pair[1]);
        }
    }
    0
}

#[tracepoint]
pub fn enter_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("enter_connect") else { return 0 };
    let (fd, address, detail) = (argument(&ctx, 0) as u32, argument(&ctx, 1), argument(&ctx, 2) as u32);
    let _ = thread.enter(Call {
        fd,
        address,
        detail,
        inode: 0,
        name: call::CONNECT,
    });
    0
}

#[tracepoint]
pub fn exit_connect(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("exit_connect") else { return 0 };
    if let Some(call) = thread.exit(call::CONNECT) {
        hooks::connected(&ctx, thread, &call, result(&ctx));
    }
    0
}

#[tracepoint]
pub fn enter_dup(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("enter_dup") {
        hooks::duplicating(thread, argument(&ctx, 0) as u32);
    }
    0
}

#[tracepoint]
pub fn enter_dup2(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("enter_dup2") {
        hooks::replacing(thread, argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    }
    0
}

#[tracepoint]
pub fn enter_fcntl(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("enter_fcntl") {
        hooks::controlling(thread, argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    }
    0
}

/// The return of dup, dup2, dup3 and fcntl.
#[tracepoint]
pub fn exit_dup(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("exit_dup") {
        hooks::duplicated(&ctx, thread, result(&ctx));
    }
    0
}

#[tracepoint]
pub fn enter_shutdown(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("enter_shutdown") {
        hooks::shutting_down(thread, argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    }
    0
}

#[tracepoint]
pub fn exit_shutdown(ctx: TracePointContext) -> u32 {
    if let Some(thread) = ours!("exit_shutdown") {
        hooks::shut_down(thread, result(&ctx));
    }
    0
}

#[tracepoint]
pub fn enter_close(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("enter_close") else { return 0 };
    let fd = argument(&ctx, 0) as u32;
    table::missed(fd);
    connection::closing(fd);
    let call = Call {
        fd,
        name: call::CLOSE,
        ..Call::default()
    };
    if thread.enter(call).is_ok() {
        table::ending(fd);
    }
    0
}

#[tracepoint]
pub fn exit_close(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("exit_close") else { return 0 };
    if let Some(call) = thread.exit(call::CLOSE) {
        hooks::closed(&ctx, call.fd, result(&ctx));
    }
    0
}

#[tracepoint]
pub fn enter_close_range(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("enter_close_range") else {
        return 0;
    };
    let (first, last) = (argument(&ctx, 0) as u32, argument(&ctx, 1) as u32);
    if !hooks::is_ending(first, last, argument(&ctx, 2) as u32) {
        return 0;
    }
    let call = Call {
        fd: first,
        detail: last,
        name: call::CLOSE_RANGE,
        ..Call::default()
    };
    if thread.enter(call).is_ok() {
        range::ending(first, last);
    }
    0
}

#[tracepoint]
pub fn exit_close_range(ctx: TracePointContext) -> u32 {
    let Some(thread) = ours!("exit_close_range") else {
        return 0;
    };
    if let Some(call) = thread.exit(call::CLOSE_RANGE) {
        hooks::closed_range(call.fd, call.detail, result(&ctx));
    }
    0
}
