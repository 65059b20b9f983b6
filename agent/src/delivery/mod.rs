//! From lines to the sinks: encoded once, gathered in batches, written by a thread a sink.

mod metrics;
mod outbox;
mod writer;

/// Where records go.
pub mod sink;

pub use metrics::Metrics;
pub use outbox::{Batch, Bounds, Outbox};
pub use writer::{Fatal, Writer, Writers};
