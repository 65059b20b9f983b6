//! What capture is built on.

use std::sync::Arc;

use super::host::Host;
use super::metrics::Metrics;
use super::positions::Positions;
use super::probes::Probes;
use super::slots::Slots;
use super::standstill::Standstills;
use crate::delivery::Outbox;
use crate::engine::{Delays, Engine, Retry};
use crate::pace::Pace;
use crate::record::Time;
use crate::register::{Inode, Register};
use crate::source::Source;

/// Asks the kernel whether a connection that the agent closed is released. `None` where
/// there is no kernel part to ask.
pub type IsReleased = Box<dyn Fn(Inode) -> Option<bool> + Send + Sync>;

/// What every follower works with, for the life of the process.
pub struct Services {
    /// Where events and the list of containers come from.
    pub engine: Engine,
    /// Where lines come from.
    pub source: Source,
    /// Told of each container that is removed.
    pub register: Register,
    /// Where records go.
    pub outbox: Outbox,
    /// The `host` of records, where the policy names none.
    pub host: Host,
    /// Whether a sink is the agent's own standard output.
    pub to_stdout: bool,
    /// How far each log was read.
    pub positions: Positions,
    /// Containers that were created later than this, and have ended, were never seen.
    pub unseen_since: Time,
    /// How many streams the limit on open files leaves room for.
    pub stream_room: usize,
    /// How many streams are read at a time.
    pub slots: Slots,
    /// Whose turn it is to ask about a silent stream.
    pub probes: Probes,
    /// Whether the agent itself stood still.
    pub standstills: Standstills,
    /// How long the thread rests between reads.
    pub pace: Arc<Pace>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Asked after each rotation about the old connection.
    pub is_released: IsReleased,
    /// How long to wait before another attempt.
    pub retry: Retry,
}

impl Services {
    pub(super) fn backoff(&self) -> Delays {
        self.retry.delays()
    }
}
