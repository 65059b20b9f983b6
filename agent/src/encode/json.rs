//! A record as one JSON object on one line; the shape is promised to users.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::fields::{Compose, ESCAPED, Fields, ROOM, Swarm};
use super::span::{Span, Writing};
use crate::escape::{BLOCK, clean_bytes, clean_prefix};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// What every record begins with.
const BEGINNING: &[u8] = b"{\"ts\":\"";
/// What a record takes beside its line and its tail, at most.
const FRAME: usize = 112;
/// What a line takes of its log at least, whatever the log's format: each has its time, to the second or better.
const SHORTEST: usize = "2026-11-20T15:04:58Z".len();
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// A record as it is read back. The [`Encoder`] writes the fields of the line by hand, and [`CommonFields`] behind them.
#[derive(Deserialize)]
struct RecordFields {
    /// The engine's time of the line, in UTC, always with nine digits. Of several lines it is the time of the first.
    ts: String,
    /// `stdout` or `stderr`. A container with a TTY has one output, which is called `stdout`.
    stream: String,
    /// The line without its line feed. Several lines have line feeds between them.
    line: Option<String>,
    /// Stands in place of `line` where the bytes are not UTF-8: the same bytes in Base64.
    line_base64: Option<String>,
    /// `true` where the line was longer than `capture.max_line_bytes` and was cut there.
    #[serde(default)]
    truncated: bool,
    /// The number of lines, where `capture.multiline` puts several of them together.
    lines: Option<u32>,
    /// The container that wrote the line.
    container: Owner,
}

#[derive(Deserialize)]
struct Owner {
    id: String,
}

/// What a record says after that, the same in every record of a container.
#[derive(Serialize)]
struct CommonFields<'a> {
    /// The container that wrote the line.
    container: ContainerFields<'a>,
    /// The key `host` of the configuration: by default the name of the machine, in a container that of the engine's machine.
    host: &'a str,
}

#[derive(Serialize)]
struct ContainerFields<'a> {
    /// The engine's id: 64 hexadecimal digits.
    id: &'a str,
    /// The name, as `docker ps` shows it.
    name: &'a str,
    /// The image that the container was made from, as the engine calls it.
    image: &'a str,
    /// The labels that `capture.labels` chooses. The longest are left out, if they and the fields are longer than
    /// 16 KiB together.
    labels: BTreeMap<&'a str, &'a str>,
    /// With `compose` in `capture.fields`, for a container of a compose project.
    #[serde(skip_serializing_if = "Option::is_none")]
    compose: Option<Compose<'a>>,
    /// With `swarm` in `capture.fields`, for a container of a swarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    swarm: Option<Swarm<'a>>,
}

/// A container as its records show it, and what all of them end with: made once, not once a line.
#[derive(Clone, Debug)]
pub struct Tail {
    origin: Arc<Origin>,
    text: Vec<u8>,
}

/// Where records are from.
#[derive(Debug)]
pub struct Origin {
    /// The container that wrote them.
    pub container: Arc<Container>,
    /// The machine that it runs on, as records name it.
    pub host: String,
}

impl Tail {
    /// Made once for a container: labels that do not fit are reported here.
    pub fn new(container: &Arc<Container>, host: &str, fields: &Fields) -> Self {
        let chosen = fields.of(container);
        if chosen.left_out > 0 {
            warn!(
                container = container.name,
                left_out = chosen.left_out,
                limit = ROOM,
                "its labels are too long for its records: the longest ones are left out"
            );
        }
        let common = CommonFields {
            container: ContainerFields {
                id: container.id.as_str(),
                name: &container.name,
                image: &container.image,
                labels: chosen.labels,
                compose: chosen.compose,
                swarm: chosen.swarm,
            },
            host,
        };
        // Strings and maps of strings: there is nothing in them that could fail.
        let mut text = serde_json::to_vec(&common).unwrap_or_default();
        text.push(b'\n');
        if let Some(brace) = text.first_mut() {
            *brace = b',';
        }
        let origin = Origin {
            container: Arc::clone(container),
            host: host.to_owned(),
        };
        Self {
            origin: Arc::new(origin),
            text,
        }
    }

    /// The container that it was made for.
    pub fn container(&self) -> &Arc<Container> {
        &self.origin.container
    }

    /// Where the records are from. Another tail has another one.
    pub fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// How many bytes of records one byte of the container's log becomes, at most.
    pub fn growth(&self) -> usize {
        (FRAME + self.text.len()).div_ceil(SHORTEST).max(ESCAPED)
    }
}

/// Whether `bytes` can be the start of a record that was not written to its end.
pub fn is_begun(bytes: &[u8]) -> bool {
    let known = bytes.len().min(BEGINNING.len());
    bytes[..known] == BEGINNING[..known]
}

/// Writes records. Keeps the last second that it wrote, in digits.
#[derive(Debug, Default)]
pub struct Encoder {
    second: Option<i64>,
    text: Vec<u8>,
}

impl Encoder {
    /// Appends one record to `out`; `lines` tells how many were put together, where that is done. Gives the place of the line
    /// in the record.
    pub fn encode(&mut self, line: &Line<'_>, lines: Option<u32>, tail: &Tail, out: &mut Vec<u8>) -> Span {
        let record = out.len();
        out.extend_from_slice(BEGINNING);
        self.time(line.time.0, out);
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(line.stream.as_str().as_bytes());
        // Most lines are ASCII, which is told in a quarter of the time.
        let is_text = line.bytes.is_ascii() || std::str::from_utf8(line.bytes).is_ok();
        let start = if is_text {
            out.extend_from_slice(b"\",\"line\":\"");
            let start = out.len();
            match line.escaped {
                Some(escaped) => out.extend_from_slice(escaped),
                None => escape(line.bytes, out),
            }
            start
        } else {
            out.extend_from_slice(b"\",\"line_base64\":\"");
            let start = out.len();
            base64(line.bytes, out);
            start
        };
        let length = out.len() - start;
        let span = Span {
            start: (start - record) as u32,
            length: length as u32,
            writing: match is_text {
                // Every escape is longer than what it stands for.
                true if length == line.bytes.len() => Writing::Plain,
                true => Writing::Escaped,
                false => Writing::Base64,
            },
        };
        out.push(b'"');
        if line.truncated {
            out.extend_from_slice(b",\"truncated\":true");
        }
        if let Some(lines) = lines {
            // A Vec takes all that is written.
            let _ = write!(out, ",\"lines\":{lines}");
        }
        out.extend_from_slice(&tail.text);
        span
    }

    fn time(&mut self, nanos: i64, out: &mut Vec<u8>) {
        let second = nanos.div_euclid(NANOS_PER_SECOND);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let time = jiff::Timestamp::from_second(second).unwrap_or_default();
            // Always written as UTC, without a fraction when that is zero.
            let _ = write!(self.text, "{time}");
            self.text.truncate("2026-11-20T15:04:58".len());
        }
        out.extend_from_slice(&self.text);
        let mut digits = *b".000000000Z";
        let mut rest = nanos.rem_euclid(NANOS_PER_SECOND);
        for digit in digits[1..10].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// What a record says, read back from its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// `container.id`.
    pub container: ContainerId,
    /// `ts`.
    pub time: Time,
    /// `stream`.
    pub stream: Stream,
    /// `line`, or `line_base64` decoded: the bytes as the container wrote them.
    pub bytes: Vec<u8>,
    /// `truncated`; `false` if the record does not say so.
    pub truncated: bool,
    /// How many lines a record was put together from; line feeds are between them.
    pub lines: Option<u32>,
}

impl Decoded {
    /// The line that the record was made of.
    pub fn line(&self) -> Line<'_> {
        Line {
            time: self.time,
            stream: self.stream,
            bytes: &self.bytes,
            truncated: self.truncated,
            escaped: None,
        }
    }

    /// `None` for what is no record of this program's.
    pub fn from_json(record: &[u8]) -> Option<Self> {
        let fields: RecordFields = serde_json::from_slice(record).ok()?;
        let bytes = match (fields.line, fields.line_base64) {
            (Some(line), _) => line.into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).ok()?,
            (None, None) => return None,
        };
        let time: jiff::Timestamp = fields.ts.parse().ok()?;
        Some(Self {
            container: ContainerId::new(&fields.container.id),
            time: Time(i64::try_from(time.as_nanosecond()).ok()?),
            stream: Stream::ALL
                .into_iter()
                .find(|stream| stream.as_str() == fields.stream)?,
            bytes,
            truncated: fields.truncated,
            lines: fields.lines,
        })
    }
}

/// Appends valid UTF-8 as the inside of a JSON string (RFC 8259, section 7).
fn escape(text: &[u8], out: &mut Vec<u8>) {
    let clean = clean_prefix(text);
    out.extend_from_slice(&text[..clean]);
    let mut text = &text[clean..];
    // Where there is one to be escaped, the next is often near: a block is copied whole, and what must not stand so is
    // taken back.
    while let Some(block) = text.first_chunk() {
        out.extend_from_slice(block);
        let clean = clean_bytes(block);
        if clean < BLOCK {
            out.truncate(out.len() - (BLOCK - clean));
            escape_byte(block[clean], out);
            text = &text[clean + 1..];
        } else {
            text = &text[BLOCK..];
        }
    }
    for byte in text {
        match clean_prefix(&[*byte]) {
            0 => escape_byte(*byte, out),
            _ => out.push(*byte),
        }
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        control => {
            let (high, low) = (HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]);
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.resize(from + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[from..]);
    out.truncate(from + written.unwrap_or_default());
}

#[cfg(test)]
mod tests;
