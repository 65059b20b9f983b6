//! Which descriptors of the process are connections.
//!
//! A system call's exit is seen some time after its effect: when `close(5)` returns, another thread may have been given
//! 5 already. So no program concludes from a call what the descriptor has become. Whatever may have changed it, the
//! program at the call's exit looks into the process's descriptor table and makes the cell agree ([`settle`]).
//!
//! A file that was recycled while we read of it (`struct file` is SLAB_TYPESAFE_BY_RCU) is one more such change.
//!
//! That the cells are right once no call is under way: let the last write to a cell be W. Its writer read the table again after W
//! and found it in agreement, or wrote again. Every change of the table after that reading belongs to a call whose exit comes
//! after it, and that exit would have found the difference and written. So there was no such change.

use abi::{Call, Limited};

use crate::{
    atomic::Cell,
    call::{self, Thread},
    held::{Held, hold, hold_unseen, owned},
    kernel::{self, Address},
    maps::{DESCRIPTORS, refused},
};

/// A turn more than two needs another thread at the same descriptor number, once for each.
const TURNS: u32 = 4;

/// The inode of the connection that a descriptor was last found to be, 0 for none.
#[inline(always)]
pub fn connection(fd: u32) -> u64 {
    cell(fd).map_or(0, |cell| cell.load())
}

#[inline(always)]
fn cell(fd: u32) -> Option<Cell> {
    // SAFETY: a map's value.
    DESCRIPTORS.get_ptr_mut(fd).map(|cell| unsafe { Cell::new(cell) })
}

#[inline(always)]
pub fn is_watched(fd: u32) -> bool {
    cell(fd).is_some()
}

/// A new connection with its first descriptor; the cell takes over the holder.
#[inline(always)]
pub fn enter(fd: u32, file: Address, held: Held) {
    // The cell is not 0 while the close of an earlier connection with this number has not been seen.
    let entered = cell(fd).is_some_and(|cell| cell.replace(0, held.inode()).is_ok());
    if entered && kernel::file(fd) == file {
        return;
    }
    settle(fd);
    if !entered {
        held.release();
    }
}

/// Makes a descriptor's cell agree with the process's table; its old and new connection lose and gain a holder.
#[inline(always)]
pub fn settle(fd: u32) {
    descriptor_settle(fd);
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn descriptor_settle(fd: u32) -> u32 {
    let Some(cell) = cell(fd) else {
        let inode = kernel::socket(fd).inode;
        if hold_unseen(inode) {
            if let Some(held) = owned(inode) {
                held.release();
            }
            refused(Limited::Descriptors);
        }
        return 0;
    };
    for _ in 0..TURNS {
        let before = cell.load();
        let now = kernel::socket(fd).inode;
        if now == before {
            return 0;
        }
        let now = if hold_unseen(now) { now } else { 0 };
        if now == before {
            return 0;
        }
        let swapped = cell.replace(before, now).is_ok();
        // The cell's holder of the old connection is ours to release now; or else the new one, which the cell did not take.
        if let Some(held) = owned(if swapped { before } else { now }) {
            held.release();
        }
    }
    0
}

/// A descriptor is about to be duplicated. Its connection is held until the call's exit, lest it be taken for released
/// when another thread closes the descriptor before the duplicate has been seen. The new descriptor is made `over` another.
#[inline(always)]
pub fn duplicating(thread: Thread, old: u32, over: u32) {
    let held = hold(connection(old));
    let inode = held.map_or(0, |held| held.inode());
    if thread
        .enter(Call {
            inode,
            fd: old,
            detail: over,
            name: call::DUPLICATE,
            ..Call::default()
        })
        .is_err()
        && let Some(held) = held
    {
        held.release();
    }
}
