//! A system call from its entry to its exit: the exit's record has the result, but no longer the arguments.
//!
//! Either may be missed. A call that was left behind so is found by the next one on its thread, or by the agent's scan; what
//! it held is let go then. It is given up by whoever removes it from the map, and so by one only.

use abi::{Call, Cause, Limited, Mark};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, programs::TracePointContext};

use crate::{
    held,
    kernel::offset,
    maps::{CALLS, FIRED, MARKER, OWNER, count, refused, repaired},
};

/// What [`Call::name`] may be.
pub const PAIR: u64 = 1;
pub const CONNECT: u64 = 2;
pub const DUPLICATE: u64 = 3;
pub const SHUTDOWN: u64 = 4;
pub const CLOSE: u64 = 5;
pub const CLOSE_RANGE: u64 = 6;

/// The agent's thread that the program of this name runs for now.
macro_rules! ours {
    ($program:literal) => {
        $crate::call::Thread::at(const { abi::hook($program) })
    };
}
pub(crate) use ours;

/// A thread of the agent's process, by its outermost id.
#[derive(Clone, Copy)]
pub struct Thread(pub u32);

impl Thread {
    /// None in any other process, the agent's own children included. Use [`ours!`].
    #[inline(always)]
    pub fn at(hook: u32) -> Option<Self> {
        let id = bpf_get_current_pid_tgid();
        if id >> 32 != OWNER.cell().load() {
            return None;
        }
        count(&FIRED, hook);
        Some(Self(id as u32))
    }

    /// What the agent has set for this thread.
    #[inline(always)]
    pub fn mark(self) -> Option<*const Mark> {
        let marker = MARKER.get_ptr(0)?;
        // SAFETY: a map's value.
        unsafe { ((*marker).thread == u64::from(self.0)).then_some(&raw const (*marker).mark) }
    }

    #[inline(always)]
    pub fn enter(self, call: Call) -> Result<(), ()> {
        if CALLS.get_ptr(self.0).is_some() {
            call_left_behind(self.0);
        }
        CALLS.insert(self.0, call, 0).map_err(|_| refused(Limited::Calls))
    }

    /// The call of this name that returns now; none if its entry was not seen.
    #[inline(always)]
    pub fn exit(self, name: u64) -> Option<Call> {
        // SAFETY: only its own thread adds or changes this entry.
        let call = unsafe { *CALLS.get_ptr(self.0)? };
        if call.name != name {
            call_left_behind(self.0);
            return None;
        }
        CALLS.remove(self.0).ok().map(|()| call)
    }
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call_left_behind(thread: u32) -> u32 {
    let Some(call) = CALLS.get_ptr(thread) else { return 0 };
    // SAFETY: a map's value.
    let inode = unsafe { (*call).inode };
    if CALLS.remove(thread).is_err() {
        return 0;
    }
    repaired(Cause::Call);
    if let Some(held) = held::owned(inode) {
        held.release();
    }
    0
}

#[inline(always)]
pub fn argument(ctx: &TracePointContext, index: usize) -> u64 {
    let offset = offset!(enter_args) as usize + index * size_of::<u64>();
    // SAFETY: inside the record, by its own `format`.
    unsafe { ctx.read_at(offset) }.unwrap_or(0)
}

#[inline(always)]
pub fn result(ctx: &TracePointContext) -> i64 {
    let offset = offset!(exit_ret) as usize;
    // SAFETY: inside the record, by its own `format`.
    unsafe { ctx.read_at(offset) }.unwrap_or(-1)
}
