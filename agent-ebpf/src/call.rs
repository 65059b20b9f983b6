//! A system call from its entry to its exit: the exit's record has the result, but no longer the arguments.

use abi::{Call, Limited, Mark};
use aya_ebpf::{helpers::bpf_get_current_pid_tgid, programs::TracePointContext};

use crate::{
    kernel::offset,
    maps::{CALLS, MARKER, OWNER, refused},
};

/// A thread of the agent's process, by its outermost id.
#[derive(Clone, Copy)]
pub struct Thread(pub u32);

impl Thread {
    /// None in any other process, the agent's own children included.
    #[inline(always)]
    pub fn ours() -> Option<Self> {
        let id = bpf_get_current_pid_tgid();
        (id >> 32 == OWNER.cell().load()).then_some(Self(id as u32))
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
        CALLS.insert(self.0, call, 0).map_err(|_| refused(Limited::Calls))
    }

    /// The call that returns now; none if it was entered before the attach.
    #[inline(always)]
    pub fn exit(self) -> Option<Call> {
        // SAFETY: only its own thread adds or removes this entry.
        let call = unsafe { *CALLS.get_ptr(self.0)? };
        let _ = CALLS.remove(self.0);
        Some(call)
    }
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
