//! What every follower works with, for the life of the process.

use std::sync::Arc;

use super::metrics::Metrics;
use super::positions::Positions;
use super::silence::Probes;
use super::slots::Slots;
use crate::delivery::Outbox;
use crate::engine::{Delays, Engine, Retry};
use crate::pace::Pace;
use crate::record::Time;
use crate::register::{Inode, Register};
use crate::source::Source;

/// Asks the kernel whether a connection that the agent closed is released. `None` where
/// there is no kernel part to ask.
pub type IsReleased = Box<dyn Fn(Inode) -> Option<bool> + Send + Sync>;

pub struct Services {
    pub engine: Engine,
    pub source: Source,
    pub register: Register,
    pub outbox: Outbox,
    pub positions: Positions,
    /// Containers that were created later than this, and have ended, were never seen.
    pub unseen_since: Time,
    pub slots: Slots,
    pub probes: Probes,
    pub pace: Arc<Pace>,
    pub metrics: Arc<Metrics>,
    pub is_released: IsReleased,
    pub retry: Retry,
}

impl Services {
    pub fn backoff(&self) -> Delays {
        self.retry.delays()
    }
}
