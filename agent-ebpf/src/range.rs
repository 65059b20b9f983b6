//! `close_range`: many descriptors at once.
//!
//! The verifier walks through every turn of a loop, but into a global function (see `table.rs`) only once: hence blocks of numbers.

use crate::{connection, descriptor, kernel::Table, table};

const BLOCK: u32 = 1024;
/// As many as the agent lets the ledger watch; the end of the process's table ends the loop before.
const BLOCKS: u32 = 64;

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
    for index in 0..BLOCKS {
        let first = first.saturating_add(index * BLOCK);
        if first >= end {
            break;
        }
        block(first, end, what);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn block(first: u32, end: u32, what: u32) -> u32 {
    for index in 0..BLOCK {
        let fd = first.saturating_add(index);
        if fd >= end {
            break;
        }
        one(fd, what);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn one(fd: u32, what: u32) -> u32 {
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
