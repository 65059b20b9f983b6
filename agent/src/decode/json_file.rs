//! The records of Docker's `json-file` driver:
//! `{"log":"…\n","stream":"stdout"[,"attrs":{…}],"time":"…Z"}` and a line feed.
//!
//! The driver writes its records by hand (`jsonlogbytes.go`), so all of them have one shape. A record of that shape is
//! decoded in one pass, and its text is lent from where it is unless something in it is escaped. A record of another
//! shape, as somebody may have edited it, goes to a JSON parser.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use twox_hash::XxHash3_64;

use super::merge::{End, Message};
use super::records::{Format, LONGEST, Step, leading_nuls};
use super::timestamp::{self, Clock};
use super::unescape::unescape;
use crate::escape::clean_prefix;
use crate::record::{Stream, Time};

const HEAD: &[u8] = b"{\"log\":\"";

/// Reads records.
#[derive(Debug, Default)]
pub(super) struct JsonFile {
    clock: Clock,
    /// Length and hash of the last record's attributes. The next record nearly always has the same ones.
    attrs: Option<(usize, u64)>,
}

/// A record of the driver's shape.
struct Shaped {
    time: Time,
    stream: Stream,
    text: Text,
    end: End,
    /// All of the record, with its line feed.
    length: usize,
}

/// Where the text is, without its line feed.
enum Text {
    /// So long, in the record.
    InPlace(usize),
    /// So long, in `scratch`. In the record it has that many bytes, with its escapes, where they are no others than those of
    /// [`Line::escaped`](crate::record::Line).
    Scratch(usize, Option<usize>),
}

impl Format for JsonFile {
    fn next<'a>(&mut self, input: &'a [u8], scratch: &'a mut Vec<u8>) -> Step<'a> {
        if let Some(shaped) = self.shaped(input, scratch) {
            return shaped.step(input, scratch);
        }
        let nuls = leading_nuls(input);
        if nuls > 0 {
            return Step::Damage(nuls);
        }
        match memchr::memchr(b'\n', input) {
            Some(end) => self.unshaped(&input[..=end], scratch),
            None if input.len() < LONGEST => Step::Wait,
            // What may be the start of the next head stays.
            None => Step::Damage(next_head(input).unwrap_or(input.len() - HEAD.len())),
        }
    }

    /// A record can have lost its line feed.
    fn last<'a>(&mut self, rest: &'a [u8], scratch: &'a mut Vec<u8>) -> Step<'a> {
        match edited(&mut self.clock, rest, scratch) {
            Some((time, stream)) => record(time, stream, scratch, rest.len()),
            None => Step::Damage(rest.len()),
        }
    }
}

impl JsonFile {
    /// A record of the driver's shape, where all of it is there.
    fn shaped(&mut self, input: &[u8], scratch: &mut Vec<u8>) -> Option<Shaped> {
        let body = input.strip_prefix(HEAD)?;
        let clean = clean_prefix(body);
        let (text, end, quote) = match body[clean..] {
            [b'\\', b'n', b'"', ..] => (Text::InPlace(clean), End::Line, clean + 2),
            [b'"', ..] => (Text::InPlace(clean), End::Open, clean),
            [] => return None,
            _ => {
                let text = unescape(body, clean, scratch)?;
                let end = end_of(&scratch[..text.length]);
                let (length, escaped) = match end {
                    End::Line => (text.length - 1, body[..text.quote].strip_suffix(b"\\n")),
                    _ => (text.length, Some(&body[..text.quote])),
                };
                let escaped = escaped.filter(|_| text.is_usual).map(<[u8]>::len);
                (Text::Scratch(length, escaped), end, text.quote)
            }
        };
        let (time, stream, length) = self.behind_text(&body[quote..])?;
        let length = HEAD.len() + quote + length;
        Some(Shaped {
            time,
            stream,
            text,
            end,
            length,
        })
    }

    /// What a record has from the quote behind its text on, and how long that is.
    fn behind_text(&mut self, rest: &[u8]) -> Option<(Time, Stream, usize)> {
        let (stream, mut at) = match rest.strip_prefix(b"\",\"stream\":\"std")?.get(..4)? {
            b"out\"" => (Stream::Stdout, 19),
            b"err\"" => (Stream::Stderr, 19),
            _ => return None,
        };
        if let Some(attrs) = rest[at..].strip_prefix(b",\"attrs\":") {
            at += 9 + self.attrs(attrs)?;
        }
        let stamp = rest[at..].strip_prefix(b",\"time\":\"")?;
        // Zeros at the end are trimmed, so the quote can be anywhere.
        let stamp = &stamp[..stamp.len().min(timestamp::LONGEST + 1)];
        let stamp = &stamp[..memchr::memchr(b'"', stamp)?];
        at += 9 + stamp.len();
        rest[at..].starts_with(b"\"}\n").then_some(())?;
        Some((self.clock.parse(stamp)?, stream, at + 3))
    }

    /// The length of the attributes that `rest` starts with.
    fn attrs(&mut self, rest: &[u8]) -> Option<usize> {
        if let Some((length, hash)) = self.attrs
            && let Some(attrs) = rest.get(..length)
            && XxHash3_64::oneshot(attrs) == hash
        {
            return Some(length);
        }
        let line = &rest[..memchr::memchr(b'\n', rest)?];
        let mut values = serde_json::Deserializer::from_slice(line).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        let length = values.byte_offset();
        self.attrs = Some((length, XxHash3_64::oneshot(&line[..length])));
        Some(length)
    }

    /// A line that is no record of the driver's shape.
    fn unshaped<'a>(&mut self, line: &'a [u8], scratch: &'a mut Vec<u8>) -> Step<'a> {
        if let Some((time, stream)) = edited(&mut self.clock, line, scratch) {
            return record(time, stream, scratch, line.len());
        }
        // The first bytes can be the half of a record that the engine was writing when the machine fell, and the rest
        // what it wrote when it was started again.
        let mut at = 0;
        while let Some(next) = next_head(&line[at..]) {
            at += next;
            if self.shaped(&line[at..], scratch).is_some() {
                return Step::Damage(at);
            }
        }
        Step::Damage(line.len())
    }
}

impl Shaped {
    fn step<'a>(self, input: &'a [u8], scratch: &'a [u8]) -> Step<'a> {
        let text = &input[HEAD.len()..];
        let (bytes, escaped) = match self.text {
            Text::InPlace(length) => (&text[..length], Some(length)),
            Text::Scratch(length, escaped) => (&scratch[..length], escaped),
        };
        let escaped = escaped.map(|length| &text[..length]);
        let message = message(self.time, self.stream, bytes, escaped, self.end);
        Step::Record {
            message,
            bytes: self.length,
            is_whole: true,
        }
    }
}

/// Where the next record may begin, behind the first byte. The text of a record has no bare quote.
fn next_head(input: &[u8]) -> Option<usize> {
    Some(memchr::memmem::find(input.get(1..)?, HEAD)? + 1)
}

/// A record in any form that JSON allows. Its text goes to `scratch`.
fn edited(clock: &mut Clock, record: &[u8], scratch: &mut Vec<u8>) -> Option<(Time, Stream)> {
    #[derive(Deserialize)]
    struct Record<'a> {
        #[serde(borrow)]
        log: Cow<'a, str>,
        #[serde(borrow)]
        stream: Cow<'a, str>,
        #[serde(borrow)]
        time: Cow<'a, str>,
    }
    let Record { log, stream, time } = serde_json::from_slice(record).ok()?;
    let stream = Stream::ALL.into_iter().find(|known| known.as_str() == stream)?;
    let time = clock.parse(time.as_bytes())?;
    scratch.clear();
    scratch.extend_from_slice(log.as_bytes());
    Some((time, stream))
}

fn record(time: Time, stream: Stream, text: &[u8], bytes: usize) -> Step<'_> {
    let end = end_of(text);
    let text = &text[..text.len() - usize::from(end == End::Line)];
    Step::Record {
        message: message(time, stream, text, None, end),
        bytes,
        is_whole: true,
    }
}

fn message<'a>(time: Time, stream: Stream, bytes: &'a [u8], escaped: Option<&'a [u8]>, end: End) -> Message<'a> {
    Message {
        time,
        stream,
        bytes,
        escaped,
        begins: false,
        end,
    }
}

fn end_of(text: &[u8]) -> End {
    if text.last() == Some(&b'\n') {
        End::Line
    } else {
        End::Open
    }
}
