//! Every descriptor of the process, by kind: born, and ended.
//!
//! As in `descriptor.rs`, a call only says *where* to look; what is there is read from the process's own table ([`settle`]).
//! The proof there holds here too. But a kind does not tell one file from the next: when a number is closed by one
//! thread and given to another at once, both exits may come so late that they find the same kind as before. So the entry of a call
//! that ends a descriptor marks its cell ([`ENDING`]): whatever is found there afterwards is another file.
//!
//! Calls without a hook (`recvmsg`, `ioctl`, `clone`, io_uring) make descriptors too. Those are found in the table: by the next
//! [`count`], or by the entry of the call that ends them.
//!
//! A hook may be missed: a kernel that preempts tasks inside a tracing program skips it for the others. So what is, is
//! taken from the table at each walk ([`count`]), and hooks say what happened in between. A walk may meet a call that is under
//! way, of which the exit will make the cell right. It therefore only counts its doubts, and the agent walks through
//! a block that is in doubt once more, a moment later. What is wrong then is put right and counted.

use abi::{Cause, Kind, Limited};

use crate::{
    atomic::Cell,
    connection, descriptor,
    kernel::{self, Address, Table},
    kind,
    maps::{self, EXACT, KIND_TOTALS, TABLE, WATCHING, refused, repaired, walk},
};

/// In a cell, beside its kind: a call that ends this descriptor is under way.
const ENDING: u64 = 1 << 8;
const KIND: u64 = ENDING - 1;

/// A turn more than two needs another thread at the same number, once for each.
const TURNS: u32 = 4;

/// A field of the totals of one kind.
macro_rules! total {
    ($kind:expr, $field:ident) => {
        if let Some(totals) = KIND_TOTALS.get_ptr_mut(($kind & KIND) as u32) {
            // SAFETY: a map's value.
            unsafe { Cell::new(&raw mut (*totals).$field) }.count();
        }
    };
}

#[inline(always)]
fn cell(fd: u32) -> Option<Cell> {
    if WATCHING.cell().load() == 0 {
        return None;
    }
    // SAFETY: a map's value.
    TABLE.get_ptr_mut(fd).map(|cell| unsafe { Cell::new(cell) })
}

#[inline(always)]
fn now(fd: u32) -> u64 {
    kind::of(kernel::file(fd))
}

/// Makes a descriptor's cell agree with the process's table.
#[inline(always)]
pub fn settle(fd: u32) {
    table_settle(fd);
}

/// Global by `no_mangle`: such a function is verified by itself, once. Any other is walked through anew for each call
/// and each state that leads to it, which in a loop is more than the verifier will do.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_settle(fd: u32) -> u32 {
    let Some(cell) = cell(fd) else {
        if WATCHING.cell().load() != 0 && now(fd) != 0 {
            refused(Limited::Descriptors);
        }
        return 0;
    };
    for _ in 0..TURNS {
        let before = cell.load();
        let now = now(fd);
        if now == before {
            break;
        }
        if cell.replace(before, now).is_ok() {
            changed(before, now);
        }
    }
    0
}

#[inline(always)]
fn changed(before: u64, now: u64) {
    if before != 0 {
        total!(before, closed);
    }
    if now != 0 {
        total!(now, opened);
    }
}

/// A new descriptor, if it is the end of a connection that `connect` has made before: then it was received, or is a duplicate.
#[inline(always)]
pub fn connected(fd: u32) {
    let file = kernel::file(fd);
    if kernel::may_be_connected(file, kind::of(file)) {
        connection::found(fd, true);
    }
}

/// Whether what is known of this descriptor is that it may be a connection.
#[inline(always)]
pub fn may_be_connected(fd: u32) -> bool {
    cell(fd).is_some_and(|cell| {
        let kind = cell.load() & KIND;
        kind == Kind::Unix as u64 || kind == Kind::Tcp as u64
    })
}

/// A descriptor is about to be closed, by itself (`close_range` has no frame to spare for it): if its `connect` was missed, it
/// is taken in before. What was refused for want of room is told as that.
#[inline(always)]
pub fn missed(fd: u32) {
    if descriptor::connection(fd) == 0
        && may_be_connected(fd)
        && maps::has_refused_none(Limited::Connections)
        && connection::is_unknown(fd)
        && connection::found(fd, false)
    {
        repaired(Cause::Connect);
    }
}

/// A call that may end this descriptor begins.
#[inline(always)]
pub fn ending(fd: u32) {
    table_ending(fd);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_ending(fd: u32) -> u32 {
    let Some(cell) = cell(fd) else { return 0 };
    let before = cell.load();
    if before != 0 {
        // Failing, another thread is ending it too; the mark is its.
        let _ = cell.replace(before, before | ENDING);
        return 0;
    }
    let now = now(fd);
    if now != 0 && cell.replace(0, now | ENDING).is_ok() {
        found(now);
    }
    0
}

/// No hook has seen it come. Where each call that makes one has a hook, that hook was missed.
#[inline(always)]
fn found(kind: u64) {
    total!(kind, opened);
    total!(kind, found);
    if is_every_birth_seen() {
        total!(kind, repaired);
        repaired(Cause::Open);
    }
}

/// By tier fentry every descriptor comes through `fd_install`, or through dup2 and dup3, which have hooks of their own.
#[inline(always)]
fn is_every_birth_seen() -> bool {
    EXACT.load() != 0
}

/// The call has ended it. Where the mark is gone, an exit that came earlier has found the next file there, and counted both.
/// Where it never was, because the entry was missed, the table tells.
#[inline(always)]
pub fn ended(fd: u32) {
    let Some(cell) = cell(fd) else { return };
    let before = cell.load();
    if before & ENDING == 0 {
        settle(fd);
    } else if cell.replace(before, 0).is_ok() {
        total!(before, closed);
    }
}

/// The call was told to end it, if it was there.
#[inline(always)]
pub fn settle_ending(fd: u32) {
    if cell(fd).is_some_and(|cell| cell.load() & ENDING != 0) {
        settle(fd);
    }
}

/// The call has failed.
#[inline(always)]
pub fn kept(fd: u32) {
    table_kept(fd);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_kept(fd: u32) -> u32 {
    let Some(cell) = cell(fd) else { return 0 };
    let before = cell.load();
    if before & ENDING != 0 && cell.replace(before, before & KIND).is_ok() {
        settle(fd);
    }
    0
}

/// A descriptor from before the watch, unless a hook has seen it already.
#[inline(always)]
pub fn adopt(fd: u32) {
    table_adopt(fd);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_adopt(fd: u32) -> u32 {
    let Some(cell) = cell(fd) else { return 0 };
    let now = now(fd);
    if now != 0 && cell.replace(0, now).is_ok() {
        total!(now, preexisting);
        if kernel::may_be_connected(kernel::file(fd), now) {
            connection::found(fd, true);
        }
        // It may have been closed in between, by a call that saw an empty cell.
        settle(fd);
    }
    0
}

/// Counts what the table has, from nothing, and how far the table goes.
#[inline(always)]
pub fn begin_census() {
    for index in 0..abi::KINDS {
        if let Some(totals) = KIND_TOTALS.get_ptr_mut(index) {
            // SAFETY: a map's value; only a census changes this field, and the agent runs one at a time.
            unsafe { (*totals).counted = 0 };
        }
    }
    if let Some(end) = walk!(end) {
        end.store(Table::now().max_fds.into());
    }
}

/// Before each block of a census.
#[inline(always)]
pub fn begin_block() {
    if let Some(doubts) = walk!(doubts) {
        doubts.store(0);
    }
}

/// Counts one descriptor by what the table says, and holds what is known of it against that. What disagrees is a doubt, or
/// is put right.
#[inline(always)]
pub fn count(table: Table, fd: u32, repair: bool) {
    table_count(table.max_fds, table.fd as u64, fd, repair.into());
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn table_count(max_fds: u32, files: u64, fd: u32, repair: u32) -> u32 {
    let file = Table::of(max_fds, files).file(fd);
    let now = kind::of(file);
    // A second walk through the same block is there to repair.
    if now != 0 && repair == 0 {
        total!(now, counted);
    }
    let Some(cell) = cell(fd) else { return 0 };
    let before = cell.load();
    connections(fd, file, now, before, repair);
    // With the mark, it is being ended and still there. Or else the mark is an old one, and then the next end makes it right.
    if before & KIND == now {
        return 0;
    }
    if before == 0 && !is_every_birth_seen() {
        if cell.replace(0, now).is_ok() {
            found(now);
            settle(fd);
        }
    } else if repair == 0 {
        doubt();
    } else if before == 0 {
        if cell.replace(0, now).is_ok() {
            found(now);
            settle(fd);
        }
    } else {
        total!(before, repaired);
        repaired(Cause::Close);
        settle(fd);
    }
    0
}

/// The same for what is known of it as a connection. `before` is what the table's cell has, and `now` should have.
#[inline(always)]
fn connections(fd: u32, file: Address, now: u64, before: u64, repair: u32) {
    let known = descriptor::connection(fd);
    if known != 0 && !kernel::is_socket(file, known) {
        if repair == 0 {
            return doubt();
        }
        // Otherwise it is one repair with that of the table's cell.
        if before & KIND == now {
            repaired(Cause::Close);
        }
        descriptor::settle(fd);
    }
    if descriptor::connection(fd) != 0 || !kernel::may_be_connected(file, now) {
        return;
    }
    if before != 0 || is_every_birth_seen() {
        // It was there, and was not connected when it was seen last.
        if !connection::is_unknown(fd) {
            connection::found(fd, false);
        } else if repair == 0 {
            doubt();
        } else if connection::found(fd, false) && before != 0 {
            repaired(Cause::Connect);
        }
    } else {
        // Whatever brought it here: it may be a duplicate of one that was received.
        connection::found(fd, true);
    }
}

#[inline(always)]
fn doubt() {
    if let Some(doubts) = walk!(doubts) {
        doubts.count();
    }
}
