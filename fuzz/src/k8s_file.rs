//! The records of Podman's `k8s-file` driver and of CRI runtimes.

use arbitrary::Unstructured;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::Offset;
use log_capturer::decode::Format;
use log_capturer::record::Stream;

use crate::files::{File, Piece, harm, message, parse};
use crate::parts::{End, Id, Message};
use crate::{Cuts, below, coin};

/// Decodes a file, harmed and cut anywhere, and compares the records with a plain model.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    let mut file = File::new(Format::K8sFile, &mut source);
    if coin(&mut source) {
        file.bytes = source.take_rest().to_vec();
    } else {
        let pieces = written(&mut file.bytes, &mut source);
        file.check(&pieces, &cuts);
        harm(&mut file.bytes, &mut source);
    }
    file.check(&read(&file.bytes), &cuts);
}

/// What `conmon` and others write, and what they mean by it.
fn written(file: &mut Vec<u8>, source: &mut Unstructured<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !source.is_empty() && pieces.len() < 40 {
        let mut message = message(source);
        let tag = match message.end {
            End::Line => ["F", "F:a:b"][below(source, 2)],
            _ => "P",
        };
        if message.end == End::Unknown {
            message.end = End::Part;
        }
        let time = jiff::Timestamp::from_nanosecond(message.time.0.into()).expect("a time of this century");
        let offset = Offset::constant([0, 2, -11][below(source, 3)]);
        let printer = DateTimePrinter::new().precision(Some(9));
        let stamp = match below(source, 3) {
            0 => time.to_string(),
            _ => printer.timestamp_with_offset_to_string(&time, offset),
        };
        let head = format!("{stamp} {} {tag} ", message.stream.as_str());
        file.extend([head.as_bytes(), &message.text, b"\n"].concat());
        pieces.push((head.len() + message.text.len() + 1, Some(message)));
    }
    pieces
}

/// What is in a file, however it came there.
fn read(file: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let nuls = line.iter().take_while(|byte| **byte == 0).count();
        pieces.push((nuls, None));
        let line = &line[nuls..];
        let is_whole = line.ends_with(b"\n");
        let starts = if is_whole { 0..line.len() } else { 0..line.len().min(1) };
        match starts.into_iter().find_map(|at| Some((at, record(&line[at..])?))) {
            Some((at, message)) => pieces.extend([(at, None), (line.len() - at, Some(message))]),
            None => pieces.push((line.len(), None)),
        }
    }
    pieces
}

/// A record, with its line feed where it has one.
fn record(line: &[u8]) -> Option<Message> {
    let space = line.iter().take(36).position(|byte| *byte == b' ')?;
    let time = parse(std::str::from_utf8(&line[..space]).ok()?)?;
    let rest = &line[space..];
    let found = Stream::ALL.into_iter().find_map(|stream| {
        let rest = rest.strip_prefix(format!(" {} ", stream.as_str()).as_bytes())?;
        Some((stream, rest))
    });
    let (stream, rest) = found?;
    let end = match rest.first()? {
        b'F' => End::Line,
        b'P' => End::Part,
        _ => return None,
    };
    let text = match rest[1..] {
        [b'\n', ..] => &[],
        [b' ', ..] => &rest[2..],
        [b':', ..] => &rest[rest.iter().position(|byte| *byte == b' ')? + 1..],
        _ => return None,
    };
    let text = text.strip_suffix(b"\n").unwrap_or(text).to_vec();
    Some(Message {
        time,
        stream,
        text,
        end,
        id: Id::Unknown,
    })
}
