//! The programs' attachments.

use std::thread;

use aya::programs::{
    fentry::FEntryLink, fexit::FExitLink, raw_trace_point::RawTracePointLink, trace_point::TracePointLink,
};

/// The attachments; they end with this.
#[derive(Default)]
pub(super) struct Links(Vec<Link>);

#[expect(dead_code, reason = "held for their drop")]
pub(super) enum Link {
    TracePoint(TracePointLink),
    RawTracePoint(RawTracePointLink),
    Entry(FEntryLink),
    Exit(FExitLink),
}

impl Links {
    pub(super) fn hold(&mut self, link: Link) {
        self.0.push(link);
    }
}

impl Drop for Links {
    /// The kernel waits for a grace period with each one (`tracepoint_synchronize_unregister`): a second for all of them
    /// in turn.
    fn drop(&mut self) {
        thread::scope(|scope| {
            for link in self.0.drain(..) {
                // Where no thread can be had, the link goes with the closure, here.
                let _ = thread::Builder::new().spawn_scoped(scope, move || drop(link));
            }
        });
    }
}
