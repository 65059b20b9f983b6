//! From lines to the sinks: encoded once, gathered in batches, and delivered by a thread or a task for each sink.
//!
//! | file | what is in it |
//! |---|---|
//! | `outbox` | where records gather, and how they are handed over |
//! | `batch` | records on their way: their text, and where in it each line is |
//! | `account` | what has become of each container's lines at a sink |
//! | `window` | what one sink was given, and what it has acknowledged |
//! | `intake` | a sink's end of that |
//! | `shared` | what the outbox and the intakes share |
//! | `writer` | the thread of a sink that writes bytes |
//! | `had` | what a sink has already, where it is read again for another |
//! | `named` | a sink of either kind, as it was configured |
//! | `sink` | where records are written to |
//! | `spool` | what a sink has not taken in time, on the disk |
//! | `network` | stores that records are sent to |
//! | `dead` | records that a store will never take |

mod account;
mod batch;
mod had;
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

/// What a sink has not taken in time, on the disk.
pub mod spool;

pub use account::{Account, Counts, Outcome};
pub use batch::{Batch, Record, Records};
pub use had::Had;
pub use intake::Intake;
pub use metrics::Metrics;
pub use named::{Kind, Named, Target};
pub use outbox::{Outbox, Saved, SinkAccount};
pub use shared::Bounds;
pub use window::{Order, Ticket};
pub use writer::{Fatal, Writers};
