//! What is kept on the disk for a sink that has fallen behind.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::place::Problems;
use super::values::exactly;

/// What is kept on the disk, in `state_dir`, for a sink that sends to a store and has fallen behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spool {
    /// The most that is kept for one sink.
    #[serde(serialize_with = "exactly")]
    pub max_bytes: ByteSize,
    /// What waits for longer is dropped, and counted: stores refuse old lines.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// What is done when there is no room.
    pub when_full: WhenFull,
}

/// What is done when a sink's spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Nothing more is read until there is.
    Block,
    /// The lines that wait longest are dropped.
    DropOldest,
    /// The lines that come are dropped for this sink.
    DropNewest,
}

impl Spool {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(self.max_bytes.as_u64() >= 1 << 20, "max_bytes", "must be at least 1MiB");
        problems.duration(self.max_age, "max_age");
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::gib(1),
            max_age: Duration::from_secs(7 * 86_400),
            when_full: WhenFull::Block,
        }
    }
}
