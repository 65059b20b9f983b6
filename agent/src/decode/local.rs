//! The records of Docker's `local` driver: a length, a protobuf message `LogEntry`, and the same length again.
//!
//! Lengths are 32 bits, big-endian, and not counted in (`local.go`). A message is decoded where it lies.

use twox_hash::XxHash3_64;

use super::merge::{End, Message};
use super::protobuf::{self, Value};
use super::records::{Format, LONGEST, Step};
use crate::record::{Stream, Time};

const LENGTH: usize = 4;
/// How a message starts: the source is its first field, and `stdout` or `stderr`. A line has no line feed, so nothing that
/// a container writes can look like this.
const START: &[u8] = b"\x0a\x06std";

/// Reads records.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// The hash of the id that the parts of a long line have, while the line goes on, by stream.
    lines: [Option<u64>; 2],
}

/// What a record says.
struct Entry<'a> {
    time: Time,
    stream: Stream,
    line: &'a [u8],
    partial: Option<Partial<'a>>,
}

#[derive(Default)]
struct Partial<'a> {
    last: bool,
    id: &'a [u8],
}

/// What bytes begin with.
enum Begin<'a> {
    Record(Entry<'a>, usize),
    /// A length, and less behind it.
    Short,
    Nothing,
}

impl Format for Local {
    fn next<'a>(&mut self, input: &'a [u8], _: &'a mut Vec<u8>) -> Step<'a> {
        let next = match begin(input) {
            Begin::Record(entry, bytes) => {
                let message = self.message(&entry);
                return Step::Record {
                    message,
                    bytes,
                    is_whole: true,
                };
            }
            // No record has another one inside: the engine was stopped in the middle of one and went on with the next, or
            // the length is wrong.
            Begin::Short => later(input, |begin| matches!(begin, Begin::Record(..))),
            // What may be the start of a record stays.
            Begin::Nothing => later(input, |begin| !matches!(begin, Begin::Nothing))
                .or_else(|| (input.len() + 1).checked_sub(LENGTH + START.len())),
        };
        match next {
            Some(bytes @ 1..) => Step::Damage(bytes),
            _ => Step::Wait,
        }
    }

    fn last<'a>(&mut self, rest: &'a [u8], _: &'a mut Vec<u8>) -> Step<'a> {
        Step::Damage(rest.len())
    }
}

impl Local {
    fn message<'a>(&mut self, entry: &Entry<'a>) -> Message<'a> {
        let line = &mut self.lines[entry.stream as usize];
        let (begins, end) = match &entry.partial {
            None => (true, End::Line),
            Some(Partial { id, last }) => {
                let hash = Some(XxHash3_64::oneshot(id));
                let begins = std::mem::replace(line, hash) != hash;
                (begins, if *last { End::Line } else { End::Part })
            }
        };
        if end == End::Line {
            *line = None;
        }
        Message {
            time: entry.time,
            stream: entry.stream,
            bytes: entry.line,
            escaped: None,
            begins,
            end,
        }
    }
}

fn begin(input: &[u8]) -> Begin<'_> {
    let Some((head, rest)) = input.split_first_chunk::<LENGTH>() else {
        return Begin::Short;
    };
    let length = u32::from_be_bytes(*head) as usize;
    let start = &rest[..rest.len().min(START.len())];
    if length < START.len() || length > LONGEST - 2 * LENGTH || !START.starts_with(start) {
        return Begin::Nothing;
    }
    if rest.len() < length + LENGTH {
        return Begin::Short;
    }
    let (entry, rest) = rest.split_at(length);
    match entry_of(entry) {
        Some(entry) if rest.starts_with(head) => Begin::Record(entry, length + 2 * LENGTH),
        _ => Begin::Nothing,
    }
}

/// Where something else begins behind the first byte.
fn later(input: &[u8], is_wanted: impl Fn(&Begin<'_>) -> bool) -> Option<usize> {
    let starts = memchr::memmem::find_iter(input, START);
    let mut places = starts
        .filter_map(|start| start.checked_sub(LENGTH))
        .filter(|&at| at > 0);
    places.find(|&at| is_wanted(&begin(&input[at..])))
}

/// Reads a `LogEntry`.
fn entry_of(mut message: &[u8]) -> Option<Entry<'_>> {
    if let Some(entry) = usual_entry(message) {
        return Some(entry);
    }
    let (mut source, mut time, mut line) = (&b""[..], None, &b""[..]);
    let (mut is_partial, mut partial) = (false, Partial::default());
    while !message.is_empty() {
        match protobuf::field(&mut message)? {
            (1, Value::Bytes(bytes)) => source = bytes,
            (2, Value::Integer(nanos)) => time = Some(Time(nanos as i64)),
            (3, Value::Bytes(bytes)) => line = bytes,
            (4, Value::Integer(flag)) => is_partial = flag != 0,
            (5, Value::Bytes(bytes)) => partial = partial_of(bytes)?,
            _ => {}
        }
    }
    let stream = match source {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    Some(Entry {
        time: time?,
        stream,
        line,
        partial: is_partial.then_some(partial),
    })
}

/// Reads an entry that has source, time and line, and nothing else: nearly all are like that.
fn usual_entry(message: &[u8]) -> Option<Entry<'_>> {
    let (stream, mut rest) = match message.split_first_chunk()? {
        (b"\x0a\x06stdout\x10", rest) => (Stream::Stdout, rest),
        (b"\x0a\x06stderr\x10", rest) => (Stream::Stderr, rest),
        _ => return None,
    };
    let time = Time(protobuf::integer(&mut rest)? as i64);
    let mut rest = rest.strip_prefix(b"\x1a")?;
    let length = protobuf::integer(&mut rest)?;
    (length == rest.len() as u64).then_some(Entry {
        time,
        stream,
        line: rest,
        partial: None,
    })
}

/// Reads a `PartialLogEntryMetadata`.
fn partial_of(mut message: &[u8]) -> Option<Partial<'_>> {
    let mut partial = Partial::default();
    while !message.is_empty() {
        match protobuf::field(&mut message)? {
            (1, Value::Integer(flag)) => partial.last = flag != 0,
            (2, Value::Bytes(id)) => partial.id = id,
            _ => {}
        }
    }
    Some(partial)
}
