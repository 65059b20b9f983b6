//! The end: what was read is delivered, everything is closed, and the kernel is asked whether it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::delivery::{Outbox, Writers};
use crate::kernel::Kernel;
use crate::register::Register;

/// Delivers what was read, and does what is `last`. Tells whether it came to an end in time.
pub async fn deliver(
    last: impl Future<Output = ()>,
    outbox: &Outbox,
    writers: &Writers,
    deadline: Instant,
    signals: &mut Signals,
) -> bool {
    let delivered = async {
        last.await;
        outbox.close().await;
        while !writers.are_done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        done = timeout_at(deadline, delivered) => {
            if done.is_err() {
                error!("not all that was read could be delivered before shutdown.deadline");
            }
            done.is_ok()
        }
        fatal = writers.failed() => {
            error!("{fatal}");
            false
        }
        () = signals.stop() => {
            error!("stopped at the second signal, before all that was read was delivered");
            false
        }
    }
}

/// The last word: whether the kernel still holds a connection. Tells whether all is well.
pub fn account(kernel: Option<&Kernel>, register: &Register) -> bool {
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
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    pub async fn stop(&mut self) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    warn!("SIGHUP: the configuration is read at the start only; restart to change it");
                    continue;
                }
            };
            info!(signal = name, "stopping");
            return;
        }
    }
}
