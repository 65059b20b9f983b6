//! The end: what was read is delivered, everything is closed, and the kernel is asked whether it is.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info};

use crate::delivery::{Fatal, Outbox, Writers};
use crate::kernel::Kernel;
use crate::register::Register;

/// Delivers what was read, and does what is `last`. Tells whether that succeeded, and all came to an end in time; or which
/// sink has failed.
pub(super) async fn deliver(
    last: impl Future<Output = bool>,
    outbox: &Outbox,
    writers: &Writers,
    deadline: Instant,
    signals: &mut Signals,
) -> Result<bool, Fatal> {
    let delivered = async {
        let succeeded = last.await;
        outbox.close().await;
        while !writers.are_done() {
            sleep(Duration::from_millis(2)).await;
        }
        succeeded
    };
    // What would be reloaded now is of no use to anybody.
    let unheard = Notify::new();
    tokio::select! {
        done = timeout_at(deadline, delivered) => {
            if done.is_err() {
                error!("not all that was read could be delivered before shutdown.deadline");
            }
            Ok(done.unwrap_or(false))
        }
        fatal = writers.failed() => Err(fatal),
        () = signals.stop(outbox, &unheard) => {
            error!("stopped at the second signal, before all that was read was delivered");
            Ok(false)
        }
    }
}

/// The last word: whether the kernel still holds a connection. Tells whether all is well.
pub(super) fn account(kernel: Option<&Kernel>, register: &Register) -> bool {
    let believed = register.count();
    let Some(kernel) = kernel else {
        info!(
            register = believed,
            "stopped; there is no kernel half to verify that every connection is closed"
        );
        return believed == 0;
    };
    match kernel.snapshot() {
        Ok(snapshot) => {
            let held = snapshot.connections.len();
            if held == 0 {
                info!(register = believed, "stopped; the kernel holds 0 connections");
            } else {
                let inodes: Vec<u64> = snapshot.connections.iter().map(|c| c.inode).collect();
                error!(
                    register = believed,
                    ?inodes,
                    "stopped; the kernel still holds {held} connections"
                );
            }
            held == 0 && believed == 0
        }
        Err(error) => {
            error!(%error, "stopped; the kernel cannot be asked whether every connection is closed");
            false
        }
    }
}

/// The signals that the agent listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    user1: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
            user1: listen(SignalKind::user_defined1())?,
        })
    }

    /// Waits for SIGTERM or SIGINT. At SIGUSR1 and SIGHUP the sinks open their files anew: who rotates them need not wait.
    /// At SIGHUP `reload` is told, too.
    pub(super) async fn stop(&mut self, outbox: &Outbox, reload: &Notify) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.user1.recv() => {
                    outbox.reopen();
                    continue;
                }
                _ = self.hangup.recv() => {
                    outbox.reopen();
                    reload.notify_one();
                    continue;
                }
            };
            info!(signal = name, "stopping");
            return;
        }
    }
}
