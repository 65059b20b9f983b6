//! From a container to its records.
//!
//! | file | what is in it |
//! |---|---|
//! | `containers`, `listing` | events and list: which containers there are |
//! | `descriptions` | what rules see of a container and records bear |
//! | `follower` | one container, from its first line to its removal |
//! | `silence`, `probes` | streams that are silent although their container writes |
//! | `captured` | what has been taken of its log: recognised, or noted and handed on |
//! | `multiline` | several lines as one record |
//! | `rate` | how many lines a second a container may bring |
//! | `services`, `policy` | what followers work with for the life of the process, and what a reload replaces |
//! | `options` | how a container's lines are treated |
//! | `labels` | what a container's own labels ask for |
//! | `expressions` | expressions in labels, at a bounded cost |
//! | `selection` | which containers are captured |
//! | `standstill` | whether the agent itself stood still |
//! | `slots` | how many are read at the same time |
//! | `positions`, `checkpoint` | all containers' positions, and how they outlive the agent |
//! | `tally`, `gone`, `tidying` | what was read of each container, also of those that are removed |
//! | `resume` | where a log was left off, and how to go on |
//! | `reach` | how far back from its end a log is asked for |
//! | `seen` | a line, as a position remembers it |
//! | `recent` | what an engine repeats by itself, on a stream that goes on |
//! | `unsettled` | where the sinks' order is not the log's |
//! | `own`, `loops` | which container is the agent's own, and which writes out what is captured of it |

mod captured;
mod checkpoint;
mod containers;
mod descriptions;
mod expressions;
mod follower;
mod gone;
mod host;
mod labels;
mod listing;
mod loops;
mod metrics;
mod multiline;
mod options;
mod own;
mod policy;
mod positions;
mod probes;
mod rate;
pub mod reach;
pub mod recent;
pub mod resume;
pub mod seen;
mod selection;
mod services;
mod silence;
mod slots;
mod standstill;
mod tally;
mod tidying;
mod unsettled;
pub mod witness;

use std::sync::Arc;

use crate::record::Container;

pub use checkpoint::{Checkpoint, Checkpoints};
pub use containers::Capture;
pub use gone::Gone;
pub use host::Host;
pub use metrics::{CheckpointMetrics, Metrics};
pub use options::Options;
pub use policy::{Policies, Policy, Rotation, first_time};
pub use positions::Positions;
pub use probes::{Intervals, Probes};
pub use selection::Selection;
pub use services::{IsReleased, Services};
pub use slots::{SlotLimits, Slots};
pub use standstill::Standstills;
pub use tally::Tally;
pub use tidying::tidy;

/// What is known of a container, told to its follower.
#[derive(Clone, Debug)]
pub struct ContainerState {
    container: Arc<Container>,
    /// The engine was asked what it was created with, where that had to be asked for.
    described: bool,
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

#[cfg(test)]
mod tests;
