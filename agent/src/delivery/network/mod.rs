//! Sinks that send their records to a store, and count them as delivered when the store says that it has them.
//!
//! | file | what is in it |
//! |---|---|
//! | `courier` | the task of a sink: from a batch to the store's answer, however often it takes |
//! | `attempt` | one request, again and again, until the store has said something that is final |
//! | `parts` | which records of a batch are still to be sent |
//! | `verdict` | what an answer means |
//! | `credentials` | secrets in files |
//! | `repeats` | equal records of one time, which a store would take for repetitions |
//! | `loki` | Loki's push protocol |

mod attempt;
mod courier;
mod credentials;
mod loki;
mod parts;
mod repeats;
mod verdict;

use std::ops::Range;

use bytes::Bytes;

use super::batch::Records;
use crate::engine::Reply;

pub use courier::Courier;
pub use credentials::Credentials;
pub use loki::{Loki, PATH as LOKI};
use parts::Parts;
use verdict::Verdict;

/// How a store is spoken to.
pub trait Protocol: Send + Sync {
    /// Headers of each request.
    fn headers(&self) -> Vec<(&str, &str)>;

    /// A batch begins: each of its records is seen once.
    fn begin(&mut self, records: &Records);

    /// Makes a request of the first records of `range` that are not refused, as many as it can have.
    fn request(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> Request;

    /// What an answer means.
    fn verdict(&self, reply: &Reply) -> Verdict;
}

/// Some records of a batch, ready to be sent.
pub struct Request {
    body: Bytes,
    /// The numbers that were looked at. Those of refused records are not in the body.
    range: Range<usize>,
    /// How many records are in the body.
    records: usize,
    /// How many lines were cut.
    cut: u64,
}
