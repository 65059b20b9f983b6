//! What all open logs have in common.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::place::Place;
use super::watcher::Watcher;
use crate::decode::FileDecoder;

/// What all open logs have in common.
pub(super) struct Shared {
    /// `capture.files.root`, or what the engine calls its data root.
    pub root: Mutex<Option<PathBuf>>,
    /// The root is the configuration's.
    pub configured: bool,
    pub watcher: Watcher,
    max_line_bytes: usize,
    /// The thread rests between two looks.
    pub rests: bool,
    held: AtomicU64,
    /// Most bytes that all may hold.
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
    /// `root` is the configuration's, if there is one.
    pub(super) fn new(
        root: Option<PathBuf>,
        watcher: Watcher,
        max_line_bytes: usize,
        rests: bool,
        most_held: u64,
    ) -> Self {
        Self {
            configured: root.is_some(),
            root: Mutex::new(root),
            watcher,
            max_line_bytes,
            rests,
            held: AtomicU64::new(0),
            most_held,
        }
    }

    /// Bytes on the disk that are there only because a log is open.
    pub(super) fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// A decoder of a log at this place.
    pub(super) fn decoder(&self, place: &Place) -> FileDecoder {
        FileDecoder::new(place.format, self.max_line_bytes, place.tty)
    }

    /// One stream holds `now` bytes in place of `before`. Gives what all hold.
    pub(super) fn hold(&self, before: u64, now: u64) -> u64 {
        self.held.fetch_add(now, Ordering::Relaxed);
        let all = self.held.fetch_sub(before, Ordering::Relaxed);
        all - before
    }
}
