//! From lines to the sinks: encoded once, gathered in batches, and delivered by a thread or a task for each sink.
//!
//! | file | what is in it |
//! |---|---|
//! | `outbox` | where records gather, and how they are handed over |
//! | `batch` | records on their way: their text, and where in it each line is |
//! | `window` | what one sink was given, and what it has acknowledged |
//! | `intake` | a sink's end of that |
//! | `shared` | what the outbox and the intakes share |
//! | `writer` | the thread of a sink that writes bytes |
//! | `named` | a sink of either kind, as it was configured |
//! | `sink` | where records are written to |
//! | `network` | stores that records are sent to |
//! | `dead` | records that a store will never take |

mod batch;
mod intake;
mod metrics;
mod named;
mod outbox;
mod shared;
#[cfg(test)]
mod tests;
mod window;
mod writer;

/// Records that a store will never take.
pub mod dead;

/// Stores that records are sent to.
pub mod network;

/// Where records go.
pub mod sink;

pub use batch::{Batch, Record, Records};
pub use intake::Intake;
pub use metrics::Metrics;
pub use named::{Kind, Named, Target};
pub use outbox::Outbox;
pub use shared::Bounds;
pub use window::{Order, Ticket};
pub use writer::{Fatal, Writers};
