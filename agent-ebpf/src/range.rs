//! `close_range`: many descriptors at once.
//!
//! The verifier walks through every turn of a loop, but into a global function (see `table.rs`) only once. Hence two loops of as
//! many turns each, one inside the other. Three would be fewer turns, and a frame more than the verifier allows.

use crate::{connection, descriptor, kernel::Table, table};

/// Numbers in a block.
const BLOCK: u32 = 256;
/// With all of them, as many numbers as the agent lets the ledger watch; the end of the process's table ends the loops before.
const BLOCKS: u32 = 256;
/// In one turn of either loop. The verifier compares each turn with all before it, so fewer turns are more than so much cheaper.
const AT_ONCE: u32 = 16;

/// What to do with each number.
const BEGIN: u32 = 0;
const CLOSED: u32 = 1;
const FAILED: u32 = 2;

pub fn ending(first: u32, last: u32) {
    each(first, last, BEGIN);
}

pub fn ended(first: u32, last: u32, closed: bool) {
    each(first, last, if closed { CLOSED } else { FAILED });
}

#[inline(always)]
fn each(first: u32, last: u32, what: u32) {
    let end = last.saturating_add(1).min(Table::now().max_fds);
    let mut first = u64::from(first);
    for _ in 0..BLOCKS / AT_ONCE {
        if first >= u64::from(end) {
            break;
        }
        for _ in 0..AT_ONCE {
            range_block(first, end, what);
            first += u64::from(BLOCK);
        }
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn range_block(mut first: u64, end: u32, what: u32) -> u32 {
    for _ in 0..BLOCK / AT_ONCE {
        if first >= u64::from(end) {
            break;
        }
        for _ in 0..AT_ONCE {
            range_one(first, end, what);
            first += 1;
        }
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn range_one(fd: u64, end: u32, what: u32) -> u32 {
    if fd >= u64::from(end) {
        return 0;
    }
    let fd = fd as u32;
    if what == BEGIN {
        connection::closing(fd);
        table::ending(fd);
        return 0;
    }
    if descriptor::connection(fd) != 0 {
        descriptor::settle(fd);
    }
    if what == CLOSED {
        table::settle_ending(fd);
    } else {
        table::kept(fd);
    }
    0
}
