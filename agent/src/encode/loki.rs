//! A record as an entry of Loki's push protocol.
//!
//! ```text
//! PushRequest { streams = 1: [ Stream { labels = 1, entries = 2: [
//!     Entry { timestamp = 1: { seconds = 1, nanos = 2 }, line = 2, structuredMetadata = 3: [ { name = 1, value = 2 } ] }
//! ] } ] }
//! ```

use super::entry::{Encode, Entry, whole};
use super::protobuf::{Begun, begin, bytes, end, number};
use crate::config::LokiField;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
/// What Loki takes of a label's value.
const VALUE: usize = 2048;
/// What a stream of one request mostly has.
const STREAM: usize = 1 << 14;
/// What an entry has beside its line, mostly.
const AROUND: usize = 150;

/// What Loki is told of each record.
#[derive(Debug)]
pub struct Loki {
    /// In the order of their names, as Loki shows them.
    labels: Vec<LokiField>,
    metadata: Vec<LokiField>,
    max_line_bytes: usize,
}

impl Loki {
    /// `labels` make a stream, and each entry has `metadata`. A longer line is cut.
    pub fn new(labels: &[LokiField], metadata: &[LokiField], max_line_bytes: usize) -> Self {
        let mut labels = labels.to_vec();
        labels.sort_by_key(|&label| name(label));
        Self {
            labels,
            metadata: metadata.to_vec(),
            max_line_bytes,
        }
    }
}

impl Encode for Loki {
    type Group = Begun;

    fn is_same_group(&self, one: &Entry<'_>, next: &Entry<'_>) -> bool {
        let is_same_stream = one.stream == next.stream || !self.labels.contains(&LokiField::Stream);
        one.is_of_same_container(next) && is_same_stream
    }

    fn begin(&self, first: &Entry<'_>, out: &mut Vec<u8>) -> Begun {
        let begun = begin(1, STREAM, out);
        let labels = begin(1, AROUND, out);
        let mut opening = "{";
        for &label in &self.labels {
            let value = value(label, first);
            if value.is_empty() {
                continue;
            }
            out.extend_from_slice(opening.as_bytes());
            out.extend_from_slice(name(label).as_bytes());
            out.extend_from_slice(b"=\"");
            quote(value, out);
            out.push(b'"');
            opening = ", ";
        }
        out.push(b'}');
        end(labels, out);
        begun
    }

    fn end(&self, group: Begun, out: &mut Vec<u8>) {
        end(group, out);
    }

    fn add(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        let length = entry.span.length as usize;
        let begun = begin(2, length + AROUND, out);
        let time = begin(1, 1, out);
        number(1, entry.time.0.div_euclid(NANOS_PER_SECOND) as u64, out);
        number(2, entry.time.0.rem_euclid(NANOS_PER_SECOND) as u64, out);
        end(time, out);

        let line = begin(2, length, out);
        let start = out.len();
        let is_base64 = entry.is_binary();
        if is_base64 {
            out.extend_from_slice(entry.span.of(entry.text));
        } else {
            entry.span.append_line(entry.text, out);
        }
        let is_cut = out.len() - start > self.max_line_bytes;
        if is_cut {
            let kept = if is_base64 {
                self.max_line_bytes / 4 * 4
            } else {
                whole(&out[start..], self.max_line_bytes)
            };
            out.truncate(start + kept);
        }
        end(line, out);

        for &field in &self.metadata {
            pair(name(field), value(field, entry), out);
        }
        if is_base64 {
            pair("encoding", "base64", out);
        }
        if entry.truncated || is_cut {
            pair("truncated", "true", out);
        }
        if entry.repeated > 0 {
            repetition(entry.repeated, out);
        }
        end(begun, out);
        is_cut
    }
}

fn value<'a>(field: LokiField, entry: &Entry<'a>) -> &'a str {
    let container = entry.container;
    let label = |key| container.labels.get(key).map_or("", String::as_str);
    let value = match field {
        LokiField::Host => entry.host,
        LokiField::Container => &container.name,
        LokiField::Project => label("com.docker.compose.project"),
        LokiField::Service => label("com.docker.compose.service"),
        LokiField::Id => container.id.as_str(),
        LokiField::Image => &container.image,
        LokiField::Stream => entry.stream.as_str(),
    };
    &value[..whole(value.as_bytes(), VALUE)]
}

fn name(field: LokiField) -> &'static str {
    match field {
        LokiField::Host => "host",
        LokiField::Container => "container",
        LokiField::Project => "project",
        LokiField::Service => "service",
        LokiField::Id => "id",
        LokiField::Image => "image",
        LokiField::Stream => "stream",
    }
}

/// A value that is not there is not told.
fn pair(name: &str, value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    let begun = begin(3, name.len() + value.len() + 4, out);
    bytes(1, name.as_bytes(), out);
    bytes(2, value.as_bytes(), out);
    end(begun, out);
}

/// The metadata `seq`, without an allocation.
fn repetition(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0; 10];
    let (mut at, mut rest) = (digits.len(), number);
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    pair("seq", std::str::from_utf8(&digits[at..]).unwrap_or_default(), out);
}

/// The inside of a Go string literal: that is what Loki reads.
fn quote(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text.as_bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..0x20 | 0x7f => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            plain => out.push(plain),
        }
    }
}

#[cfg(test)]
mod tests;
