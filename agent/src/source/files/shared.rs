//! What all logs share that are read from files.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::place::Place;
use super::watcher::Watcher;
use crate::decode::FileDecoder;

/// Most bytes that may be on the disk only because the agent has not read them yet. What is more is given up, and counted.
pub const MOST_HELD: u64 = 1 << 30;

/// What all open logs share.
pub struct Shared {
    /// `capture.files.root`, or what the engine calls its data root.
    pub root: Mutex<Option<PathBuf>>,
    pub configured: bool,
    pub watcher: Watcher,
    pub max_line_bytes: usize,
    /// The thread rests between two looks.
    pub rests: bool,
    pub held: AtomicU64,
    pub most_held: u64,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub fn decoder(&self, place: &Place) -> FileDecoder {
        FileDecoder::new(place.format, self.max_line_bytes, place.tty)
    }

    /// One stream holds `now` bytes in place of `before`. Gives what all hold.
    pub fn hold(&self, before: u64, now: u64) -> u64 {
        self.held.fetch_add(now, Ordering::Relaxed);
        let all = self.held.fetch_sub(before, Ordering::Relaxed);
        all - before
    }
}
