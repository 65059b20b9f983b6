//! How spools are kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, WhenFull};

/// Spools are folders of this one, below `state_dir`.
const FOLDER: &str = "spool";
/// The largest segment: room is given back in such pieces, and the start reads one.
const SEGMENT: u64 = 4 << 20;

/// How spools are kept.
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) folder: PathBuf,
    pub(super) limits: Limits,
    pub(super) when_full: WhenFull,
    pub(super) patience: Patience,
}

/// Frames are lent together up to so much text: what came slowly need not go slowly.
const TOGETHER: usize = 128 << 10;

/// How much is kept for one sink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_age: Duration,
    pub(super) segment_bytes: u64,
    pub(super) together: usize,
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
