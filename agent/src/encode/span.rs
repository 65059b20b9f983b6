//! Where a line is in its record, so that it can be had back without parsing the record.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where the text of a line stands in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Where it begins, counted from the beginning of the record.
    pub start: u32,
    /// How many bytes it has there.
    pub length: u32,
    /// How it is written there.
    pub writing: Writing,
}

/// How a line is written in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// Byte for byte.
    Plain,
    /// With the escapes that [`super::Encoder`] makes, or takes over ([`crate::record::Line::escaped`]).
    Escaped,
    /// In Base64: it is not UTF-8.
    Base64,
}

impl Span {
    /// The line's text as it stands in `record`.
    pub fn of<'a>(&self, record: &'a [u8]) -> &'a [u8] {
        &record[self.start as usize..][..self.length as usize]
    }

    /// Appends the line's own bytes to `out`.
    pub fn append_line(&self, record: &[u8], out: &mut Vec<u8>) {
        let text = self.of(record);
        match self.writing {
            Writing::Plain => out.extend_from_slice(text),
            Writing::Escaped => unescape(text, out),
            Writing::Base64 => {
                let from = out.len();
                out.resize(from + text.len() / 4 * 3, 0);
                let decoded = STANDARD.decode_slice(text, &mut out[from..]);
                // It fails for nothing that `Encoder` has written.
                out.truncate(from + decoded.unwrap_or_default());
            }
        }
    }
}

/// Takes back the escapes that `Encoder` makes or takes over, and no others.
fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..at]);
        let (byte, length) = match text.get(at + 1) {
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b't') => (b'\t', 2),
            Some(b'u') => (ascii(text.get(at + 4..at + 6)), 6),
            Some(&itself) => (itself, 2),
            None => return,
        };
        out.push(byte);
        text = text.get(at + length..).unwrap_or_default();
    }
    out.extend_from_slice(text);
}

/// An ASCII character from its last two hexadecimal digits.
fn ascii(digits: Option<&[u8]>) -> u8 {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap_or_default() as u8;
    digits
        .unwrap_or_default()
        .iter()
        .fold(0, |all, byte| all << 4 | digit(byte))
}
