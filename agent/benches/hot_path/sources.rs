//! Where lines come from, and what one read of a busy container brings from there.

use log_capturer::decode::{Chunked, Decoder, FileDecoder, Format, Found, Transfer};
use log_capturer::record::Line;

/// Lines of one read.
pub(crate) const LINES: usize = 250;
/// Bytes of a line.
pub(crate) const LENGTH: usize = 200;
const MAX_LINE: usize = 1 << 20;

/// Each with lines of one text, but for `json-file-quoted`: its lines are JSON themselves, with a quote every few bytes.
pub(crate) const NAMES: [&str; 5] = ["api", "json-file", "json-file-quoted", "local", "k8s-file"];

/// A decoder.
pub(crate) enum Source {
    Api(Decoder),
    File { decoder: FileDecoder, scratch: Vec<u8> },
}

impl Source {
    pub(crate) fn new(name: &str) -> Self {
        let format = match name {
            "api" => return Self::Api(Decoder::new(Transfer::Chunked(Chunked::default()), MAX_LINE)),
            "local" => Format::Local,
            "k8s-file" => Format::K8sFile,
            _ => Format::JsonFile,
        };
        Self::File {
            decoder: FileDecoder::new(format, MAX_LINE, false),
            scratch: Vec::new(),
        }
    }

    pub(crate) fn feed(&mut self, input: &[u8], mut out: impl FnMut(Line<'_>)) {
        match self {
            Self::Api(decoder) => decoder.feed(input, &mut out).expect("it is well formed"),
            Self::File { decoder, scratch } => {
                let fed = decoder.feed(0, input, scratch, &mut |found| match found {
                    Found::Line(line) => out(line),
                    Found::Damaged(damaged) => panic!("{damaged:?} of what is well formed"),
                });
                assert_eq!(fed.bytes, input.len(), "all of it is whole");
            }
        }
    }
}

/// What one read brings. Each read's lines are later.
pub(crate) fn body(name: &str, read: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for number in 0..LINES {
        // As nearly always, no digit of the time is left out.
        let nanos = number * 4_000_000 + 1;
        let second = format!("2026-11-20T15:{:02}:{:02}", read / 60 % 60, read % 60);
        let text = format!("{number:0LENGTH$}");
        match name {
            "api" => {
                // The engine sends a chunk a line, in it a frame, in it a time.
                let line = format!("{second}.{nanos:09}Z {text}\n");
                body.extend(format!("{:x}\r\n", line.len() + 8).bytes());
                body.extend([1, 0, 0, 0]);
                body.extend((line.len() as u32).to_be_bytes());
                body.extend([line.as_bytes(), b"\r\n"].concat());
            }
            "local" => {
                let time = 1_795_187_098_000_000_000 + read as u64 * 1_000_000_000 + nanos as u64;
                let mut entry = b"\x0a\x06stdout\x10".to_vec();
                varint(time, &mut entry);
                entry.push(0x1a);
                varint(text.len() as u64, &mut entry);
                entry.extend(text.bytes());
                let length = (entry.len() as u32).to_be_bytes();
                body.extend([&length[..], &entry, &length].concat());
            }
            "k8s-file" => body.extend(format!("{second}.{nanos:09}+00:00 stdout F {text}\n").bytes()),
            _ => {
                let text = if name == "json-file" { text } else { quoted(number) };
                let record = format!(r#"{{"log":"{text}\n","stream":"stdout","time":"{second}.{nanos:09}Z"}}"#);
                body.extend([record.as_bytes(), b"\n"].concat());
            }
        }
    }
    body
}

/// A line of a program that logs JSON, as a JSON string has it.
fn quoted(number: usize) -> String {
    let mut line = format!(
        r#"{{"level":"info","ts":"2026-11-20T15:04:58.123Z","logger":"http","msg":"handled request","uri":"/items/{number}","status":200,"agent":""#
    );
    while line.len() < LENGTH - 2 {
        line.push('x');
    }
    (line + "\"}").replace('"', "\\\"")
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
