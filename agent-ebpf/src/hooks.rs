//! What is done at a system call's entry and exit, whichever tier sees it.

use abi::{Call, ERRNOS};
use aya_log_ebpf::{debug, trace};

use crate::{
    call::{self, Thread},
    connection, descriptor, held, kernel,
    maps::{self, CONNECT_ERRORS},
    range, table,
};

/// A call has made a descriptor. A number that is none, as some commands of `bpf` return, does no harm: the table says what
/// it is.
#[inline(always)]
pub fn born(result: i64) {
    if result >= 0 {
        table::settle(result as u32);
    }
}

/// `connect(fd, address, length)` has returned.
#[inline(always)]
pub fn connected(ctx: &impl Sized, thread: Thread, call: &Call, result: i64) {
    let socket = kernel::socket(call.fd);
    let sk = socket.sk();
    let failed = match socket.stream(sk) {
        0 => return,
        family => connection::attempted(thread, call, socket, sk, family, result),
    };
    if failed {
        debug!(ctx, "connect failed: fd {}, result {}", call.fd, result);
        maps::count(&CONNECT_ERRORS, errno(result));
    } else {
        debug!(ctx, "connected: fd {} is socket:[{}]", call.fd, socket.inode);
    }
}

/// A signal makes `connect` return one of the kernel's internal ERESTART codes (from 512), seen as EINTR.
fn errno(result: i64) -> u32 {
    let errno = result.unsigned_abs() as u32;
    if errno < ERRNOS { errno } else { EINTR }
}

const EINTR: u32 = 4;

/// No descriptor: it is more than the table can have.
const NONE: u32 = u32::MAX;

/// `dup(old)`
#[inline(always)]
pub fn duplicating(thread: Thread, old: u32) {
    descriptor::duplicating(thread, old, NONE);
}

/// `dup2(old, new)`, `dup3(old, new, flags)`: they close `new` first.
#[inline(always)]
pub fn replacing(thread: Thread, old: u32, new: u32) {
    if old != new {
        table::missed(new);
        connection::closing(new);
        table::ending(new);
    }
    descriptor::duplicating(thread, old, new);
}

/// `fcntl(old, command, argument)`
#[inline(always)]
pub fn controlling(thread: Thread, old: u32, command: u32) {
    const F_DUPFD: u32 = 0;
    const F_DUPFD_CLOEXEC: u32 = 1030;
    if command == F_DUPFD || command == F_DUPFD_CLOEXEC {
        duplicating(thread, old);
    }
}

/// dup, dup2, dup3 or fcntl has returned.
#[inline(always)]
pub fn duplicated(ctx: &impl Sized, thread: Thread, result: i64) {
    let Some(call) = thread.exit(call::DUPLICATE) else {
        return;
    };
    if result >= 0 {
        trace!(ctx, "duplicated: fd {} is socket:[{}]", result, call.inode);
        descriptor::settle(result as u32);
        table::settle(result as u32);
    } else {
        table::kept(call.detail);
    }
    if let Some(held) = held::owned(call.inode) {
        held.release();
    }
}

/// `shutdown(fd, how)`
#[inline(always)]
pub fn shutting_down(thread: Thread, fd: u32, how: u32) {
    connection::shutting_down(thread, fd, how);
}

#[inline(always)]
pub fn shut_down(thread: Thread, result: i64) {
    let Some(call) = thread.exit(call::SHUTDOWN) else {
        return;
    };
    if let Some(held) = held::owned(call.inode) {
        if result != 0 {
            held.own_shutdown().clear(u64::from(call.detail));
        }
        held.release();
    }
}

/// `close(fd)` has returned, whatever: only EBADF means that nothing was closed, and the process's table says so too.
#[inline(always)]
pub fn closed(ctx: &impl Sized, fd: u32, result: i64) {
    let inode = descriptor::connection(fd);
    // A cell of 0 needs no settling here: a close makes no connection, and whoever makes one settles the cell himself.
    if inode != 0 {
        trace!(ctx, "closed: fd {} was socket:[{}]", fd, inode);
        descriptor::settle(fd);
    }
    if result == 0 {
        table::ended(fd);
    } else {
        table::kept(fd);
    }
}

/// Whether `close_range(first, last, flags)` is going to end anything.
#[inline(always)]
pub fn is_ending(first: u32, last: u32, flags: u32) -> bool {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    first <= last && flags & CLOSE_RANGE_CLOEXEC == 0
}

#[inline(always)]
pub fn closed_range(first: u32, last: u32, result: i64) {
    range::ended(first, last, result == 0);
}
