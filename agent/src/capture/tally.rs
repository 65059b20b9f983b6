//! What has been read of a container's log, and how much of it went on to the sinks.
//!
//! It is part of the container's position, so it is saved with it, and says the same: what was read up to there.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::record::Time;

/// Lines of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tally {
    /// The container's name; empty if it is not known.
    pub name: Arc<str>,
    /// They came for the first time.
    pub taken: u64,
    /// They came again, and were known.
    pub known: u64,
    /// They were taken, and went to no sink: a rate limit, or records of the container's own lines.
    pub dropped: u64,
    /// They were taken, and wait for the rest of their record. They are read again at the next start.
    pub held: u64,
    /// Places at which lines may be missing, and when the last was found.
    pub gaps: u64,
    /// See `gaps`.
    pub last_gap: Option<Time>,
}

impl Tally {
    /// Lines that went on to the sinks.
    pub fn handed_on(&self) -> u64 {
        self.taken.saturating_sub(self.dropped + self.held)
    }

    /// Lines may be missing here.
    pub(super) fn note_gap(&mut self) {
        self.gaps += 1;
        self.last_gap = Some(Time::now());
    }

    /// After a restart: what waited is read again.
    pub(super) fn read_again(&mut self) {
        self.taken = self.taken.saturating_sub(std::mem::take(&mut self.held));
    }

    /// Those of another container count here from now on. Its gaps are not told of any more.
    pub(super) fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.known += other.known;
        self.dropped += other.dropped;
        self.held += other.held;
    }
}
