//! Loki's push protocol: protobuf, compressed with snappy.

use std::ops::Range;

use bytes::Bytes;

use super::super::batch::Records;
use super::parts::Parts;
use super::repeats::Repeats;
use super::verdict::{Verdict, pause};
use super::{Protocol, Request};
use crate::encode::{self, Begun, Entry};
use crate::engine::Reply;
use crate::record::{Container, Stream, Time};

mod answers;

/// What Loki's own path is, below that of the URL.
pub const PATH: &str = "/loki/api/v1/push";
/// Largest request before it is compressed, but for the entry that fills it. Loki takes 4 MiB and more.
const LIMIT: usize = 1 << 20;
/// What an entry takes beside its line, about.
const AROUND: usize = 512;

/// A Loki, as one sink speaks to it.
pub struct Loki {
    encode: encode::Loki,
    tenant: String,
    repeats: Repeats,
    /// The next request, before it is compressed.
    plain: Vec<u8>,
    snappy: snap::raw::Encoder,
}

impl Loki {
    /// `tenant` is empty where there is none.
    pub fn new(encode: encode::Loki, tenant: &str) -> Self {
        Self {
            encode,
            tenant: tenant.to_owned(),
            repeats: Repeats::default(),
            plain: Vec::new(),
            snappy: snap::raw::Encoder::new(),
        }
    }
}

/// The stream of Loki's that is being written.
struct Current<'a> {
    container: &'a Container,
    host: &'a str,
    stream: Stream,
    begun: Begun,
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
        self.repeats.note(records);
    }

    fn request(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> Request {
        let out = &mut self.plain;
        out.clear();
        let mut current: Option<Current<'_>> = None;
        let (mut end, mut count, mut cut) = (range.start, 0, 0);
        for (number, record) in range.clone().zip(records.range(range.clone())) {
            if count > 0 && out.len() + record.span.length as usize + AROUND > LIMIT {
                break;
            }
            end = number + 1;
            if parts.is_refused(number) {
                continue;
            }
            let goes_on = current.as_ref().is_some_and(|current| {
                std::ptr::eq(current.container, &**record.container)
                    && std::ptr::eq(current.host, record.host)
                    && (current.stream == record.stream || !self.encode.has_stream_label())
            });
            if !goes_on {
                if let Some(current) = current.take() {
                    self.encode.end_stream(current.begun, out);
                }
                current = Some(Current {
                    container: record.container,
                    host: record.host,
                    stream: record.stream,
                    begun: self
                        .encode
                        .begin_stream(record.container, record.host, record.stream, out),
                });
            }
            let entry = Entry {
                container: record.container,
                host: record.host,
                time: record.time,
                stream: record.stream,
                text: record.text,
                span: record.span,
                truncated: record.truncated,
                repeated: self.repeats.of(number),
            };
            cut += u64::from(self.encode.entry(&entry, out));
            count += 1;
        }
        if let Some(current) = current {
            self.encode.end_stream(current.begun, out);
        }
        // It fails only for more than 4 GiB.
        let body = self.snappy.compress_vec(out).unwrap_or_default();
        Request {
            body: Bytes::from(body),
            range: range.start..end,
            records: count,
            cut,
        }
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        let after = reply.retry_after.as_deref().and_then(|text| pause(text, Time::now()));
        answers::verdict(reply.status, after, &String::from_utf8_lossy(&reply.body))
    }
}
