//! OpenTelemetry's protocol for logs, over HTTP: protobuf, compressed with gzip.

use std::borrow::Cow;
use std::io::Write as _;
use std::ops::Range;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::batch::Records;
use super::fill::Filler;
use super::parts::Parts;
use super::verdict::{Verdict, pause_of};
use super::{Protocol, Request};
use crate::encode;
use crate::engine::Reply;

mod answers;

/// What the protocol's own path is, below that of the URL.
pub const PATH: &str = "/v1/logs";
/// A log mostly becomes as much smaller.
const RATIO: usize = 8;

/// A collector, or a store that takes the protocol, as one sink speaks to it.
pub struct Otlp(Filler<encode::Otlp>);

impl Otlp {
    /// With records in this encoding.
    pub fn new(encode: encode::Otlp) -> Self {
        Self(Filler::new(encode))
    }
}

impl Protocol for Otlp {
    fn headers(&self) -> Vec<(&str, &str)> {
        vec![("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")]
    }

    fn begin(&mut self, records: &Records) {
        self.0.begin(records);
    }

    fn request(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> Request {
        let (filled, plain) = self.0.fill(records, range, parts);
        Request::new(filled, gzip(plain))
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        answers::verdict(reply.status, pause_of(reply), &reply.body)
    }

    fn words<'a>(&self, reply: &'a Reply) -> Cow<'a, str> {
        answers::words(reply.status, &reply.body)
    }
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::with_capacity(plain.len() / RATIO), Compression::fast());
    // A Vec takes all that is written.
    let _ = gzip.write_all(plain);
    gzip.finish().unwrap_or_default()
}
