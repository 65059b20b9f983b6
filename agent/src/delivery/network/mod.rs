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
//! | `fill` | a request is filled with as many records as it can have |
//! | `loki` | Loki's push protocol |
//! | `otlp` | OpenTelemetry's protocol for logs |

mod attempt;
mod courier;
mod credentials;
mod fill;
mod loki;
mod otlp;
mod parts;
mod repeats;
mod verdict;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use super::batch::Records;
use crate::engine::Reply;

pub use courier::Courier;
pub use credentials::Credentials;
use fill::Filled;
pub use loki::{Loki, PATH as LOKI};
pub use otlp::{Otlp, PATH as OTLP};
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

    /// What an answer says in words.
    fn words<'a>(&self, reply: &'a Reply) -> Cow<'a, str> {
        String::from_utf8_lossy(&reply.body)
    }
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

impl Request {
    fn new(filled: Filled, body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            range: filled.range,
            records: filled.records,
            cut: filled.cut,
        }
    }
}
