//! Scans for leaks at intervals: tells of each once, counts it, and, where that is asked for, ends it.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};
use tracing::{info, warn};

use super::leaks::{Detector, Leak, Patience, Reason};
use super::metrics::LeakMetrics;
use super::{Connection, Kernel};
use crate::register::{Inode, Register};

#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    pub interval: Duration,
    pub patience: Patience,
    /// End a leaked connection by `shutdown(2)`.
    pub heal: bool,
}

/// The leaks of the last scan, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Leaks(Arc<Mutex<Vec<Leak>>>);

impl Leaks {
    pub fn now(&self) -> Vec<Leak> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Leak>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scans for as long as it is polled.
pub async fn watch(kernel: Arc<Kernel>, register: Register, options: WatchOptions, metrics: LeakMetrics, leaks: Leaks) {
    let mut detector = Detector::new(options.patience);
    let mut healed = HashSet::new();
    loop {
        tokio::time::sleep(options.interval).await;
        // The register is read after the kernel: what is closed in between is in neither, or only in the ledger, and
        // then gone at the next scan. Nothing else runs in between on the agent's one thread.
        let connections = match kernel.snapshot() {
            Ok(snapshot) => snapshot.connections,
            Err(error) => {
                warn!(%error, "cannot scan for leaks");
                continue;
            }
        };
        let found = detector.scan(&connections, &register.snapshot(), Instant::now(), |leak| {
            tell(leak);
            metrics.detected.with_label_values(&[leak.reason.as_str()]).inc();
        });
        for reason in Reason::ALL {
            let count = found.iter().filter(|leak| leak.reason == reason).count();
            metrics.leaked.with_label_values(&[reason.as_str()]).set(count as i64);
        }
        if options.heal {
            healed.retain(|inode| found.iter().any(|leak| leak.connection.inode == *inode));
            for leak in &found {
                if healed.insert(leak.connection.inode) && heal(&leak.connection) {
                    metrics.healed.inc();
                }
            }
        }
        *leaks.lock() = found;
    }
}

fn tell(leak: &Leak) {
    let Connection { inode, fd, peer, .. } = &leak.connection;
    let opening = leak.opening.as_ref();
    warn!(
        inode,
        fd,
        peer,
        reason = leak.reason.as_str(),
        opened_by = opening.map_or("unknown", |opening| opening.site.as_str()),
        container = opening
            .and_then(|opening| opening.container.as_ref())
            .map_or("none", |id| id.short()),
        "a connection is leaked"
    );
}

/// Ends the connection, and leaves its descriptor open: some owner may still close it, and by then its number may be
/// another's.
fn heal(connection: &Connection) -> bool {
    // SAFETY: the descriptor is used at once and not kept. Should it have been closed meanwhile, the calls fail; should
    // it be another file's by now, the inode says so.
    let fd = unsafe { BorrowedFd::borrow_raw(connection.fd) };
    let same = rustix::fs::fstat(fd).is_ok_and(|stat| stat.st_ino == connection.inode as Inode);
    let ended = same && shutdown(fd, Shutdown::Both).is_ok();
    if ended {
        info!(
            inode = connection.inode,
            fd = connection.fd,
            "ended a leaked connection"
        );
    }
    ended
}
