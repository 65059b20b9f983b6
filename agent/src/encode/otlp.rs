//! A record as a log record of OpenTelemetry's protocol.
//!
//! ```text
//! ExportLogsServiceRequest { resource_logs = 1: [ ResourceLogs { resource = 1: { attributes = 1: [ KeyValue ] },
//!     scope_logs = 2: { scope = 1: { name = 1, version = 2 }, log_records = 2: [ LogRecord {
//!         time_unix_nano = 1, body = 5: AnyValue, attributes = 6: [ KeyValue ], observed_time_unix_nano = 11 } ] } } ] }
//! KeyValue { key = 1, value = 2: AnyValue }
//! AnyValue { string_value = 1, bool_value = 2, array_value = 5: { values = 1 }, bytes_value = 7 }
//! ```

use twox_hash::XxHash3_64;

use super::entry::{Encode, Entry, whole};
use super::protobuf::{Begun, begin, bytes, end, fixed, number};

/// A resource's attributes, and a record's.
const RESOURCE_ATTRIBUTE: u64 = 1;
const RECORD_ATTRIBUTE: u64 = 6;
/// Kinds of values.
const STRING: u64 = 1;
const BOOL: u64 = 2;
const ARRAY: u64 = 5;
const BYTES: u64 = 7;
/// What the records of a container mostly take.
const GROUP: usize = 1 << 14;
/// What a record has beside its line, mostly.
const AROUND: usize = 130;
/// A longer label is cut there. A resource is sent once for each group, so it must be small.
const VALUE: usize = 2048;
/// Digits of a record's own id.
const UID: usize = 32;

/// What OpenTelemetry is told of each record.
#[derive(Debug)]
pub struct Otlp {
    max_line_bytes: usize,
}

/// The records of one container.
pub struct Group {
    resource_logs: Begun,
    scope_logs: Begun,
}

impl Otlp {
    /// A longer line is cut.
    pub fn new(max_line_bytes: usize) -> Self {
        Self { max_line_bytes }
    }
}

impl Encode for Otlp {
    type Group = Group;

    fn is_same_group(&self, one: &Entry<'_>, next: &Entry<'_>) -> bool {
        one.is_of_same_container(next)
    }

    fn begin(&self, first: &Entry<'_>, out: &mut Vec<u8>) -> Group {
        let container = first.container;
        let service = container.labels.get("com.docker.compose.service");
        let (image, tag) = image_and_tag(&container.image);
        let resource_logs = begin(1, GROUP, out);
        let resource = begin(1, 2 * AROUND, out);
        for (key, value) in [
            ("container.id", container.id.as_str()),
            ("container.name", &container.name),
            ("container.image.name", image),
            ("host.name", first.host),
            ("service.name", service.unwrap_or(&container.name)),
        ] {
            attribute(RESOURCE_ATTRIBUTE, key, value, out);
        }
        if let Some(tag) = tag {
            tags(tag, out);
        }
        end(resource, out);
        let scope_logs = begin(2, GROUP, out);
        let scope = begin(1, 1, out);
        bytes(1, env!("CARGO_PKG_NAME").as_bytes(), out);
        bytes(2, env!("CARGO_PKG_VERSION").as_bytes(), out);
        end(scope, out);
        Group {
            resource_logs,
            scope_logs,
        }
    }

    fn add(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
        let length = entry.span.length as usize;
        let record = begin(2, length + AROUND, out);
        let nanos = entry.time.0.max(0) as u64;
        fixed(1, nanos, out);
        let body = begin(5, length + 4, out);
        // What is not UTF-8 is no string.
        let line = begin(if entry.is_binary() { BYTES } else { STRING }, length, out);
        let start = out.len();
        entry.span.append_line(entry.text, out);
        let uid = uid(nanos, hash(entry, &out[start..]));
        let is_cut = out.len() - start > self.max_line_bytes;
        if is_cut {
            let kept = if entry.is_binary() {
                self.max_line_bytes
            } else {
                whole(&out[start..], self.max_line_bytes)
            };
            out.truncate(start + kept);
        }
        end(line, out);
        end(body, out);
        attribute(RECORD_ATTRIBUTE, "log.iostream", entry.stream.as_str(), out);
        let uid = std::str::from_utf8(&uid).unwrap_or_default();
        attribute(RECORD_ATTRIBUTE, "log.record.uid", uid, out);
        if entry.truncated || is_cut {
            truncated(out);
        }
        // It was the engine that observed it. The time of reading would differ when the record is sent again.
        fixed(11, nanos, out);
        end(record, out);
        is_cut
    }

    fn end(&self, group: Group, out: &mut Vec<u8>) {
        end(group.scope_logs, out);
        end(group.resource_logs, out);
    }
}

/// One whose value is a text. A value that is not there is not told.
fn attribute(field: u64, key: &str, value: &str, out: &mut Vec<u8>) {
    if value.is_empty() {
        return;
    }
    let value = &value[..whole(value.as_bytes(), VALUE)];
    let pair = begin(field, key.len() + value.len() + 6, out);
    bytes(1, key.as_bytes(), out);
    let any = begin(2, value.len() + 2, out);
    bytes(STRING, value.as_bytes(), out);
    end(any, out);
    end(pair, out);
}

/// An array, as the conventions have it, of one tag.
fn tags(tag: &str, out: &mut Vec<u8>) {
    let pair = begin(RESOURCE_ATTRIBUTE, 40, out);
    bytes(1, b"container.image.tags", out);
    let any = begin(2, tag.len() + 6, out);
    let array = begin(ARRAY, tag.len() + 4, out);
    let value = begin(1, tag.len() + 2, out);
    bytes(STRING, tag.as_bytes(), out);
    end(value, out);
    end(array, out);
    end(any, out);
    end(pair, out);
}

/// The conventions have no name for it.
fn truncated(out: &mut Vec<u8>) {
    let pair = begin(RECORD_ATTRIBUTE, 32, out);
    bytes(1, b"log_capturer.truncated", out);
    let any = begin(2, 2, out);
    number(BOOL, 1, out);
    end(any, out);
    end(pair, out);
}

/// `registry:5000/nginx:1.27@sha256:...` has the name `registry:5000/nginx` and the tag `1.27`.
fn image_and_tag(image: &str) -> (&str, Option<&str>) {
    let without_digest = image.split_once('@').map_or(image, |(name, _)| name);
    match without_digest.rsplit_once(':') {
        // An image that has no name is called by its digest.
        Some(("sha256", _)) | None => (without_digest, None),
        Some((_, port)) if port.contains('/') => (without_digest, None),
        Some((name, tag)) => (name, Some(tag)),
    }
}

/// A hash of all that tells two records of one time apart.
fn hash(entry: &Entry<'_>, line: &[u8]) -> u64 {
    let seed = u64::from(entry.repeated) << 1 | entry.stream as u64;
    let line = XxHash3_64::oneshot_with_seed(seed, line);
    XxHash3_64::oneshot_with_seed(line, entry.container.id.as_str().as_bytes())
}

/// The same whenever the record is sent: its time, and a hash of what it says.
fn uid(nanos: u64, hash: u64) -> [u8; UID] {
    let mut digits = [0; UID];
    let mut rest = u128::from(nanos) << 64 | u128::from(hash);
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    digits
}

#[cfg(test)]
mod tests;
