//! From lines to the sinks: encoded once, gathered in batches, written by a thread a sink.

mod fields;
mod json;
mod metrics;
mod outbox;
mod writer;

pub use fields::Fields;
pub use json::{Decoded, Encoder, Tail};
pub use metrics::Metrics;
pub use outbox::{Batch, Bounds, Outbox};
pub use writer::{Fatal, Writer, Writers};
