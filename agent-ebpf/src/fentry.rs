//! Tier `fentry`: at the entry and exit of kernel functions. Nothing else on the host pays for them.
//!
//! System calls are met in the functions that carry them out (`__x64_sys_close`), which are the same calls with the same meaning
//! as the tracepoints', and whose names are older than any kernel that this runs on. Their one argument is the caller's registers,
//! which are still the call's at the exit: so the entry need not leave them behind for it.

use abi::Call;
use aya_ebpf::{
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};

use crate::{
    call::{self, Thread, ours},
    connection, hooks,
    kernel::{self, Registers},
    range, table,
};

#[inline(always)]
fn registers(ctx: &FEntryContext) -> Registers {
    Registers(ctx.arg(0))
}

/// The registers with which a system call that returns was entered.
#[inline(always)]
fn registers_before(ctx: &FExitContext) -> Registers {
    Registers(ctx.arg(0))
}

/// What a function of one argument returned: it follows the arguments.
#[inline(always)]
fn result(ctx: &FExitContext) -> i64 {
    ctx.arg(1)
}

/// `fd_install(fd, file)`: whatever call makes a descriptor comes through here but dup2, those without a hook of their own included.
#[fexit]
pub fn fexit_install(ctx: FExitContext) -> i32 {
    if ours!("fexit_install").is_some() {
        let fd = ctx.arg::<u64>(0) as u32;
        table::settle(fd);
        table::connected(fd);
    }
    0
}

#[fexit]
pub fn fexit_connect(ctx: FExitContext) -> i32 {
    if let Some(thread) = ours!("fexit_connect") {
        let registers = registers_before(&ctx);
        let call = Call {
            inode: 0,
            address: registers.argument(1),
            fd: registers.argument(0) as u32,
            detail: registers.argument(2) as u32,
            name: call::CONNECT,
        };
        hooks::connected(&ctx, thread, &call, result(&ctx));
    }
    0
}

#[fentry]
pub fn fentry_dup(ctx: FEntryContext) -> i32 {
    if let Some(thread) = ours!("fentry_dup") {
        hooks::duplicating(thread, registers(&ctx).argument(0) as u32);
    }
    0
}

#[fentry]
pub fn fentry_dup2(ctx: FEntryContext) -> i32 {
    replacing(ours!("fentry_dup2"), &ctx)
}

#[fentry]
pub fn fentry_dup3(ctx: FEntryContext) -> i32 {
    replacing(ours!("fentry_dup3"), &ctx)
}

#[inline(always)]
fn replacing(thread: Option<Thread>, ctx: &FEntryContext) -> i32 {
    if let Some(thread) = thread {
        let registers = registers(ctx);
        hooks::replacing(thread, registers.argument(0) as u32, registers.argument(1) as u32);
    }
    0
}

#[fentry]
pub fn fentry_fcntl(ctx: FEntryContext) -> i32 {
    if let Some(thread) = ours!("fentry_fcntl") {
        let registers = registers(&ctx);
        hooks::controlling(thread, registers.argument(0) as u32, registers.argument(1) as u32);
    }
    0
}

#[fexit]
pub fn fexit_dup(ctx: FExitContext) -> i32 {
    duplicated(ours!("fexit_dup"), &ctx)
}

#[fexit]
pub fn fexit_dup2(ctx: FExitContext) -> i32 {
    duplicated(ours!("fexit_dup2"), &ctx)
}

#[fexit]
pub fn fexit_dup3(ctx: FExitContext) -> i32 {
    duplicated(ours!("fexit_dup3"), &ctx)
}

#[fexit]
pub fn fexit_fcntl(ctx: FExitContext) -> i32 {
    duplicated(ours!("fexit_fcntl"), &ctx)
}

#[inline(always)]
fn duplicated(thread: Option<Thread>, ctx: &FExitContext) -> i32 {
    if let Some(thread) = thread {
        hooks::duplicated(ctx, thread, result(ctx));
    }
    0
}

#[fentry]
pub fn fentry_shutdown(ctx: FEntryContext) -> i32 {
    if let Some(thread) = ours!("fentry_shutdown") {
        let registers = registers(&ctx);
        hooks::shutting_down(thread, registers.argument(0) as u32, registers.argument(1) as u32);
    }
    0
}

#[fexit]
pub fn fexit_shutdown(ctx: FExitContext) -> i32 {
    if let Some(thread) = ours!("fexit_shutdown") {
        hooks::shut_down(thread, result(&ctx));
    }
    0
}

#[fentry]
pub fn fentry_close(ctx: FEntryContext) -> i32 {
    if ours!("fentry_close").is_some() {
        let fd = registers(&ctx).argument(0) as u32;
        table::missed(fd);
        connection::closing(fd);
        table::ending(fd);
    }
    0
}

#[fexit]
pub fn fexit_close(ctx: FExitContext) -> i32 {
    if ours!("fexit_close").is_some() {
        hooks::closed(&ctx, registers_before(&ctx).argument(0) as u32, result(&ctx));
    }
    0
}

#[fentry]
pub fn fentry_close_range(ctx: FEntryContext) -> i32 {
    if ours!("fentry_close_range").is_some()
        && let Some((first, last)) = range_of(registers(&ctx))
    {
        range::ending(first, last);
    }
    0
}

#[fexit]
pub fn fexit_close_range(ctx: FExitContext) -> i32 {
    if ours!("fexit_close_range").is_some()
        && let Some((first, last)) = range_of(registers_before(&ctx))
    {
        hooks::closed_range(first, last, result(&ctx));
    }
    0
}

#[inline(always)]
fn range_of(registers: Registers) -> Option<(u32, u32)> {
    let (first, last) = (registers.argument(0) as u32, registers.argument(1) as u32);
    hooks::is_ending(first, last, registers.argument(2) as u32).then_some((first, last))
}

/// `unix_release_sock(sk, embrion)`, in whosesoever process: the end of the connection that `sk` is the peer's end of.
#[fentry]
pub fn fentry_unix_release(ctx: FEntryContext) -> i32 {
    connection::ended_by(ctx.arg(0));
    0
}

/// `unix_shutdown(socket, how)`: so if it ends the writing.
#[fentry]
pub fn fentry_unix_shutdown(ctx: FEntryContext) -> i32 {
    const SHUT_RD: u32 = 0;
    if ctx.arg::<u64>(1) as u32 != SHUT_RD {
        connection::ended_by(kernel::sk_of(ctx.arg(0)));
    }
    0
}
