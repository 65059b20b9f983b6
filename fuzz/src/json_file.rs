//! The records of Docker's `json-file` driver.

use arbitrary::Unstructured;
use log_capturer::decode::Format;
use log_capturer::record::{Stream, Time};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::files::{File, Piece, harm, message, parse};
use crate::parts::{End, Id, Message};
use crate::{Cuts, below, coin};

const HEAD: &[u8] = b"{\"log\":\"";

/// Decodes a file, harmed and cut anywhere, and compares the records with a plain model.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    let mut file = File::new(Format::JsonFile, &mut source);
    if coin(&mut source) {
        file.bytes = source.take_rest().to_vec();
    } else {
        let pieces = written(&mut file.bytes, &mut source);
        file.check(&pieces, &cuts);
        harm(&mut file.bytes, &mut source);
    }
    file.check(&read(&file.bytes), &cuts);
}

/// What the driver writes, and what it means by it.
fn written(file: &mut Vec<u8>, source: &mut Unstructured<'_>) -> Vec<Piece> {
    let attrs = ["", r#","attrs":{"a":"}\"","log":"x"}"#, r#","attrs":{}"#];
    let mut pieces = Vec::new();
    while !source.is_empty() && pieces.len() < 40 {
        let mut message = message(source);
        let line_feed = if message.end == End::Line {
            "\\n"
        } else {
            message.end = End::Unknown;
            ""
        };
        let (escaped, text) = escape(&message.text);
        message.text = text;
        let from = file.len();
        file.extend_from_slice(b"{\"log\":\"");
        file.extend_from_slice(&escaped);
        let time = jiff::Timestamp::from_nanosecond(message.time.0.into()).expect("a time of this century");
        let (stream, attrs) = (message.stream.as_str(), attrs[below(source, 8) / 3]);
        file.extend(format!("{line_feed}\",\"stream\":\"{stream}\"{attrs},\"time\":\"{time}\"}}\n").bytes());
        pieces.push((file.len() - from, Some(message)));
    }
    pieces
}

/// The inside of a string as `jsonlogbytes.go` writes it, and what is left of the text in it.
fn escape(text: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (mut escaped, mut left) = (Vec::new(), Vec::new());
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut utf8 = [0; 4];
            let utf8 = character.encode_utf8(&mut utf8);
            left.extend(utf8.bytes());
            match character {
                '"' | '\\' => escaped.extend([b'\\', character as u8]),
                '\r' => escaped.extend(b"\\r"),
                '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    escaped.extend(format!("\\u{:04x}", character as u32).bytes());
                }
                _ => escaped.extend(utf8.bytes()),
            }
        }
        for _ in chunk.invalid() {
            escaped.extend(b"\\ufffd");
            left.extend("\u{fffd}".bytes());
        }
    }
    (escaped, left)
}

/// What is in a file, however it came there.
fn read(file: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let nuls = line.iter().take_while(|byte| **byte == 0).count();
        pieces.push((nuls, None));
        let line = &line[nuls..];
        let Some(record) = line.strip_suffix(b"\n") else {
            pieces.push((line.len(), edited(line)));
            continue;
        };
        let mut heads = (0..record.len()).filter(|at| record[*at..].starts_with(HEAD));
        let first = heads.find_map(|at| Some((at, shaped(&record[at..])?)));
        match (first, edited(record)) {
            (Some((0, message)), _) | (_, Some(message)) => pieces.push((line.len(), Some(message))),
            (Some((at, message)), None) => pieces.extend([(at, None), (line.len() - at, Some(message))]),
            (None, None) => pieces.push((line.len(), None)),
        }
    }
    pieces
}

/// A record of the driver's shape, taken apart from its end.
fn shaped(record: &[u8]) -> Option<Message> {
    let (rest, time) = split_last(record.strip_suffix(b"\"}")?, b",\"time\":\"")?;
    let time = parse(std::str::from_utf8(time).ok().filter(|time| time.len() <= 35)?)?;
    let (text, rest) = string(rest.strip_prefix(HEAD)?)?;
    let (stream, attrs) = match rest.strip_prefix(b",\"stream\":\"std")?.split_first_chunk()? {
        (b"out\"", attrs) => (Stream::Stdout, attrs),
        (b"err\"", attrs) => (Stream::Stderr, attrs),
        _ => return None,
    };
    if !attrs.is_empty() {
        let value = attrs.strip_prefix(b",\"attrs\":")?;
        serde_json::from_slice::<IgnoredAny>(value).ok()?;
        value.last().filter(|byte| !byte.is_ascii_whitespace())?;
    }
    Some(of_text(time, stream, text))
}

fn split_last<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = text.windows(at.len()).rposition(|window| window == at)?;
    Some((&text[..found], &text[found + at.len()..]))
}

/// A string up to its quote, byte by byte, and what is behind it.
fn string(escaped: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut text = Vec::new();
    let mut at = 0;
    loop {
        let byte = *escaped.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some((text, &escaped[at..])),
            b'\\' => {}
            0..0x20 => return None,
            _ => {
                text.push(byte);
                continue;
            }
        }
        let kind = *escaped.get(at)?;
        at += 1;
        let character = match kind {
            b'u' => {
                let unit = code_unit(&escaped[at..])?;
                at += 4;
                let next = escaped[at..].strip_prefix(b"\\u").and_then(code_unit);
                let pair = next.and_then(|next| char::decode_utf16([unit, next]).next()?.ok());
                if (0xd800..0xdc00).contains(&unit) && pair.is_some() {
                    at += 6;
                }
                let alone = char::decode_utf16([unit])
                    .next()?
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                pair.unwrap_or(alone)
            }
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'"' | b'\\' | b'/' => kind.into(),
            _ => return None,
        };
        text.extend(character.encode_utf8(&mut [0; 4]).bytes());
    }
}

/// Four hexadecimal digits.
fn code_unit(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| all_hex)
}

/// Any JSON object that has what is needed.
fn edited(record: &[u8]) -> Option<Message> {
    #[derive(Deserialize)]
    struct Record {
        log: String,
        stream: String,
        time: String,
    }
    let record: Record = serde_json::from_slice(record).ok()?;
    let stream = Stream::ALL
        .into_iter()
        .find(|stream| stream.as_str() == record.stream)?;
    Some(of_text(parse(&record.time)?, stream, record.log.into_bytes()))
}

fn of_text(time: Time, stream: Stream, mut text: Vec<u8>) -> Message {
    let end = if text.pop_if(|last| *last == b'\n').is_some() {
        End::Line
    } else {
        End::Unknown
    };
    Message {
        time,
        stream,
        text,
        end,
        id: Id::Unknown,
    }
}
