//! Loki's push protocol: protobuf, compressed with snappy.

use std::ops::Range;

use super::super::batch::Records;
use super::fill::Filler;
use super::parts::Parts;
use super::verdict::{Verdict, pause_of};
use super::{Protocol, Request};
use crate::encode;
use crate::engine::Reply;

mod answers;

/// What Loki's own path is, below that of the URL.
pub const PATH: &str = "/loki/api/v1/push";

/// A Loki, as one sink speaks to it.
pub struct Loki {
    filler: Filler<encode::Loki>,
    tenant: String,
    snappy: snap::raw::Encoder,
}

impl Loki {
    /// `tenant` is empty where there is none.
    pub fn new(encode: encode::Loki, tenant: &str) -> Self {
        Self {
            filler: Filler::new(encode),
            tenant: tenant.to_owned(),
            snappy: snap::raw::Encoder::new(),
        }
    }
}

impl Protocol for Loki {
    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers = vec![("Content-Type", "application/x-protobuf")];
        if !self.tenant.is_empty() {
            headers.push(("X-Scope-OrgID", &self.tenant));
        }
        headers
    }

    fn begin(&mut self, records: &Records) {
        self.filler.begin(records);
    }

    fn request(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> Request {
        let (filled, plain) = self.filler.fill(records, range, parts);
        // It fails only for more than 4 GiB.
        let body = self.snappy.compress_vec(plain).unwrap_or_default();
        Request::new(filled, body)
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        answers::verdict(reply.status, pause_of(reply), &String::from_utf8_lossy(&reply.body))
    }
}
