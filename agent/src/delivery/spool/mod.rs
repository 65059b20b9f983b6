//! What a sink has not taken in time waits on the disk, so that reading and the other sinks go on.
//!
//! While a sink keeps up its batches stay in memory and nothing is written. When it falls behind, the batches of its window
//! go to its spool, and count as safe: the saved positions move on. The spool is delivered first, and what comes meanwhile
//! goes behind it, until it is empty.
//!
//! | file | what is in it |
//! |---|---|
//! | `supply` | the end of whoever delivers: batches, from the spool or from memory |
//! | `keeper` | the task beside it, which moves batches to the spool |
//! | `backlog` | what the two share |
//! | `queue` | the spool: segments and a cursor |
//! | `segment`, `frame`, `cursor`, `folder` | its files |

mod backlog;
mod cursor;
mod folder;
mod frame;
mod keeper;
mod metrics;
mod queue;
mod segment;
mod supply;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

pub use config::WhenFull;
pub use keeper::Keeper;
pub use metrics::SpoolMetrics;
pub use supply::Supply;

use super::had::Had;
use super::intake::Intake;
use super::metrics::Metrics;
use crate::config;
use crate::readiness::Readiness;

/// Spools are folders of this one, below `state_dir`.
const FOLDER: &str = "spool";
/// The largest segment: room is given back in such pieces, and the start reads one.
const SEGMENT: u64 = 4 << 20;

/// How spools are kept.
#[derive(Clone, Debug)]
pub struct Options {
    folder: PathBuf,
    limits: Limits,
    when_full: WhenFull,
    patience: Patience,
}

/// Frames are lent together up to so much text: what came slowly need not go slowly.
const TOGETHER: usize = 128 << 10;

/// What is known of a sink from before.
#[derive(Default)]
pub struct Before {
    /// What it had behind the saved positions.
    pub had: Had,
    /// How many records its spool had got when they were saved.
    pub spooled: Option<u64>,
}

/// How much is kept for one sink.
#[derive(Clone, Copy, Debug)]
struct Limits {
    max_bytes: u64,
    max_age: Duration,
    segment_bytes: u64,
    together: usize,
}

/// When a sink has fallen behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Its oldest batch waits for so long.
    pub(super) age: Duration,
    /// While something is in the spool already: batches gather for so long.
    pub(super) gather: Duration,
    /// Or its window is full, and it has acknowledged nothing for so long.
    pub(super) stall: Duration,
}

/// What a spool could not keep, since that was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    /// Damaged places in segments.
    places: u64,
    /// Damaged cursors.
    cursors: u64,
    /// Records that were there once.
    records: u64,
    /// Records that became too old.
    aged: u64,
}

impl Options {
    /// Spools in this `state_dir`.
    pub fn new(state_dir: &Path, spool: &config::Spool) -> Self {
        let max_bytes = spool.max_bytes.as_u64();
        Self {
            folder: state_dir.join(FOLDER),
            limits: Limits {
                max_bytes,
                max_age: spool.max_age,
                segment_bytes: SEGMENT.min(max_bytes / 4),
                together: TOGETHER,
            },
            when_full: spool.when_full,
            patience: Patience {
                age: Duration::from_secs(1),
                gather: Duration::from_millis(100),
                stall: Duration::from_millis(500),
            },
        }
    }

    /// The folders of sinks that are not among these.
    pub fn left_over(&self, sinks: &[String]) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_left = |path: &PathBuf| {
            path.file_name()
                .is_none_or(|name| sinks.iter().all(|sink| name != sink.as_str()))
        };
        entries.map(|entry| entry.path()).filter(is_left).collect()
    }
}

/// The two ends of a sink's batches: for whoever delivers them, and for who keeps what waits. Without `options` nothing is kept.
pub fn supply(
    intake: Intake,
    before: Before,
    options: Option<&Options>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> std::io::Result<(Supply, Keeper)> {
    let Some(options) = options else {
        return Ok((Supply::new(intake, None), Keeper::none()));
    };
    let part = readiness.part(&format!("spool {}", intake.name()));
    let backlog = backlog::Backlog::open(&intake, before, options, metrics, part)?;
    Ok((Supply::new(intake, Some(backlog.clone())), Keeper::new(backlog)))
}
