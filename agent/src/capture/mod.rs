//! From a container to its records.
//!
//! | file | what is in it |
//! |---|---|
//! | `containers` | events and list: which containers there are |
//! | `follower` | one container, from its first line to its removal |
//! | `silence` | streams that are silent although their container writes |
//! | `captured` | what has been taken of its log: recognised, or noted and handed on |
//! | `multiline` | several lines as one record |
//! | `rate` | how many lines a second a container may bring |
//! | `options` | how a container's lines are treated |
//! | `labels` | what a container's own labels ask for |
//! | `expressions` | expressions in labels, at a bounded cost |
//! | `selection` | which containers are captured |
//! | `slots` | how many are read at the same time |
//! | `positions`, `checkpoint` | all containers' positions, and how they outlive the agent |
//! | `resume` | where a log was left off, and how to go on |
//! | `seen` | a line, as a position remembers it |
//! | `recent` | what an engine repeats by itself, on a stream that goes on |
//! | `unsettled` | where the sinks' order is not the log's |
//! | `own` | which container is the agent's own |

mod captured;
mod checkpoint;
mod containers;
mod expressions;
mod follower;
mod labels;
mod metrics;
mod multiline;
mod options;
mod own;
mod positions;
mod probes;
mod rate;
pub mod recent;
pub mod resume;
mod seen;
mod selection;
mod silence;
mod slots;
mod unsettled;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::config;
use crate::delivery::Outbox;
use crate::encode::Fields;
use crate::engine::{Delays, Engine, Retry};
use crate::pace::Pace;
use crate::record::{Container, Time};
use crate::register::{Inode, Register};
use crate::source::Source;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use containers::Capture;
pub use metrics::{CheckpointMetrics, Metrics};
pub use options::Options;
pub use positions::Positions;
pub use probes::{Intervals, Probes};
pub use selection::Selection;
pub use slots::{SlotLimits, Slots};

/// Asks the kernel whether a connection that the agent closed is released. `None` where
/// there is no kernel part to ask.
pub type IsReleased = Box<dyn Fn(Inode) -> Option<bool> + Send + Sync>;

/// How old a stream's connection gets.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// While it brings lines.
    pub interval: Duration,
    /// While it brings nothing.
    pub idle_interval: Duration,
}

impl From<&config::Rotation> for Rotation {
    fn from(rotation: &config::Rotation) -> Self {
        Self {
            interval: rotation.interval,
            idle_interval: rotation.idle_interval.max(rotation.interval),
        }
    }
}

/// The time of the first line that is taken of a container that was never read before; `None`: it is its first.
pub fn first_time(start: config::Start) -> Option<Time> {
    match start {
        config::Start::Beginning => None,
        config::Start::End => Some(Time::now()),
        config::Start::Age(age) => Some(Time::now().before(age)),
    }
}

/// What every container's follower works with.
pub struct Context {
    /// Where events and the list of containers come from.
    pub engine: Engine,
    /// Where lines come from.
    pub source: Source,
    /// Lines of containers that were never read before are taken from this time on; `None`: all of them.
    pub start: Option<Time>,
    /// Told of each container that is removed.
    pub register: Register,
    /// Where records go.
    pub outbox: Outbox,
    /// How far each log was read.
    pub positions: Positions,
    /// Containers that were created later than this, and have ended, were never seen.
    pub unseen_since: Time,
    /// Which containers are captured.
    pub selection: Selection,
    /// How a container's lines are treated.
    pub options: Options,
    /// How many streams are read at a time.
    pub slots: Slots,
    /// How long the thread rests between reads.
    pub pace: Arc<Pace>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Asked after each rotation about the old connection.
    pub is_released: IsReleased,
    /// The `host` of every record.
    pub host: String,
    /// What a record says of its container.
    pub fields: Fields,
    /// When a stream is rotated.
    pub rotation: Rotation,
    /// When the engine is asked about silent streams.
    pub probes: Probes,
    /// How long to wait before another attempt.
    pub retry: Retry,
}

impl Context {
    fn backoff(&self) -> Delays {
        self.retry.delays()
    }

    /// When a stream that is opened now shall be rotated. Up to a tenth earlier, so that
    /// streams that began together do not rotate together.
    fn rotate_at(&self) -> Instant {
        Instant::now() + self.rotation.interval.mul_f64(1.0 - 0.1 * fastrand::f64())
    }
}

/// What is known of a container, told to its follower.
#[derive(Clone, Debug)]
pub struct ContainerState {
    container: Arc<Container>,
    /// Counts its starts, as far as they were seen. One can be counted twice.
    starts: u64,
    running: bool,
    removed: bool,
    /// The engine said itself that it has removed it: there is no log to ask for any more. That a list does not have it is
    /// no such word, and is confirmed by asking.
    destroyed: bool,
}

impl ContainerState {
    /// Whether its log can get no more lines before the next start.
    fn is_over(&self) -> bool {
        self.removed || !self.running
    }
}
