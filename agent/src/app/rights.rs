//! What the agent may do, given up as soon as it is not needed any more. Capabilities are a thread's: a thread that is
//! started later has what its starter has left.

use rustix::io;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};
use tracing::{debug, warn};

/// Kept where they were there: the engine's socket, its log files, the sinks' files and `state_dir` may be another user's, and
/// are opened at any time.
const KEPT: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// Gives up all capabilities but [`KEPT`], for this thread and for those that it will start, and for good. `works` tells whether
/// the kernel part can still be asked: before Linux 5.19 every call of `bpf` takes CAP_BPF where
/// `kernel.unprivileged_bpf_disabled` is set, and then that one is kept, too.
pub(super) fn give_up(works: impl FnOnce() -> bool) {
    let kept = || -> io::Result<CapabilitySet> {
        set_no_new_privs(true)?;
        let permitted = capabilities(None)?.permitted;
        let kept = permitted & KEPT;
        let with_bpf = permitted & (KEPT | CapabilitySet::BPF);
        set(kept, with_bpf)?;
        let kept = if works() { kept } else { with_bpf };
        set(kept, kept)?;
        Ok(kept)
    };
    match kept() {
        Ok(kept) => debug!(?kept, "gave up all other capabilities"),
        Err(error) => warn!(%error, "cannot give up the capabilities that are not needed any more"),
    }
}

/// Runs `work` in a thread without any capability; what it starts has none either.
pub fn without<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        // It could not give them up to begin with; then they are as they were.
        let _ = set(CapabilitySet::empty(), CapabilitySet::empty());
        work()
    };
    std::thread::scope(|scope| match scope.spawn(inside).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn set(effective: CapabilitySet, permitted: CapabilitySet) -> io::Result<()> {
    let sets = CapabilitySets {
        effective,
        permitted,
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, sets)
}
