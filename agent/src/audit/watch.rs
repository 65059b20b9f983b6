//! Scans for leaks at intervals: tells of each once, counts it, and, where that is asked for, ends it.

use std::collections::HashSet;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{Shutdown, shutdown};
use tracing::{info, warn};

use super::doubt::{Doubt, Interval};
use super::growth::{self, Growing, Growth};
use super::leaks::{Detector, Leak, Patience, Reason};
use super::metrics::LeakMetrics;
use super::room::Room;
use crate::config;
use crate::kernel::{Connection, Kernel, Kind};
use crate::register::{Inode, Register};

/// How [`watch`] looks for leaks.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions {
    /// From one scan to the next.
    pub interval: Duration,
    /// How long something must look leaked before it is called a leak.
    pub patience: Patience,
    /// End a leaked connection by `shutdown(2)`.
    pub heal: bool,
}

impl From<&config::Kernel> for WatchOptions {
    fn from(kernel: &config::Kernel) -> Self {
        Self {
            interval: kernel.leaks.scan_interval,
            patience: Patience {
                orphan: kernel.leaks.orphan_after,
                half_closed: kernel.leaks.half_closed_after,
            },
            heal: kernel.heal,
        }
    }
}

/// What the last scan found, for whoever asks.
#[derive(Clone, Debug, Default)]
pub struct Leaks(Arc<Mutex<Found>>);

/// What a scan has found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// When that was.
    pub at: Option<Instant>,
    /// Every leaked connection.
    pub leaks: Vec<Leak>,
    /// Every kind of descriptor that only grows.
    pub growing: Vec<Growing>,
    /// How far the totals of the time before that scan can be trusted.
    pub doubt: Interval,
}

/// What a scan says of the account itself.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Which maps are full, in words.
    pub lacks_room: Option<String>,
    /// Hooks that do not fire any more, in words.
    pub quiet: Option<String>,
    /// How far the totals can be trusted.
    pub doubt: Interval,
}

impl Leaks {
    /// What it was. Before the first scan it is empty.
    pub fn now(&self) -> Found {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Scans for as long as it is polled. `clients` is the most connections that the agent accepts by itself, see [`growth`].
/// `tell_account` is told at each scan whether the account is whole.
pub async fn watch(
    kernel: Arc<Kernel>,
    register: Register,
    options: WatchOptions,
    clients: u64,
    metrics: LeakMetrics,
    found: Leaks,
    mut tell_account: impl FnMut(Account),
) {
    let mut detector = Detector::new(options.patience);
    let mut growth = Growth::new();
    let mut room = Room::default();
    let mut doubt = Doubt::default();
    let mut healed = HashSet::new();
    loop {
        tokio::time::sleep(options.interval).await;
        // The register is read after the kernel: what is closed in between is in neither, or only in the ledger, and
        // then gone at the next scan. Nothing else runs in between on the agent's one thread.
        let snapshot = match kernel.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                warn!(%error, "cannot scan for leaks");
                continue;
            }
        };
        let doubt = doubt.since_the_last(&snapshot);
        tell_account(Account {
            lacks_room: room.lacks(&snapshot.maps),
            quiet: quiet(&kernel),
            doubt: doubt.clone(),
        });
        let now = Instant::now();
        let leaks = detector.scan(&snapshot.connections, &register.snapshot(), now, |leak| {
            tell(leak);
            metrics.detected.with_label_values(&[leak.reason.as_str()]).inc();
        });
        for reason in Reason::ALL {
            let count = leaks.iter().filter(|leak| leak.reason == reason).count();
            metrics.leaked.with_label_values(&[reason.as_str()]).set(count as i64);
        }
        let counts = growth::counts(&snapshot, clients);
        let growing = growth.scan(counts, now, |kind| tell_growing(kind, now));
        for kind in Kind::ALL {
            let by = growing.iter().find(|one| one.kind == kind).map_or(0, |one| one.by);
            metrics.fds_growing.with_label_values(&[kind.as_str()]).set(by as i64);
        }
        if options.heal {
            healed.retain(|inode| leaks.iter().any(|leak| leak.connection.inode == *inode));
            for leak in &leaks {
                if healed.insert(leak.connection.inode) && heal(&leak.connection) {
                    metrics.healed.inc();
                }
            }
        }
        *found.lock() = Found {
            at: Some(now),
            leaks,
            growing,
            doubt,
        };
    }
}

fn quiet(kernel: &Kernel) -> Option<String> {
    match kernel.quiet_hooks() {
        Ok(quiet) => (!quiet.is_empty()).then(|| {
            format!(
                "the kernel does not run {}; what is live is told by walks alone",
                quiet.join(", ")
            )
        }),
        Err(error) => {
            warn!(%error, "cannot try the hooks");
            None
        }
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

fn tell_growing(growing: &Growing, now: Instant) {
    warn!(
        kind = growing.kind.as_str(),
        open = growing.open,
        by = growing.by,
        window = ?now.duration_since(growing.since),
        per_hour = growing.per_hour(now).round(),
        "descriptors of a kind only ever grow: they are leaked"
    );
}

/// Ends the connection, and leaves its descriptor open: some owner may still close it, and by then its number may be
/// another's.
#[expect(unsafe_code, reason = "a descriptor is used that another part of the process owns")]
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
