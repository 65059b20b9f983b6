//! The records of Docker's `local` driver.

use arbitrary::Unstructured;
use log_capturer::decode::{Format, LONGEST};
use log_capturer::record::{Stream, Time};

use crate::files::{File, Piece, harm, message};
use crate::parts::{End, Id, Message};
use crate::{Cuts, below, coin};

/// No line has a line feed, so this is at the start of a message and nowhere else.
const START: &[u8] = b"\x0a\x06std";

/// Decodes a file, harmed and cut anywhere, and compares the records with a plain model.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let cuts = Cuts::choose(&mut source);
    let mut file = File::new(Format::Local, &mut source);
    if coin(&mut source) {
        file.bytes = source.take_rest().to_vec();
    } else {
        let pieces = written(&mut file.bytes, &mut source);
        file.check(&pieces, &cuts);
        harm(&mut file.bytes, &mut source);
    }
    let pieces = read(&file.bytes);
    let mut at = 0;
    let has_nested = pieces.iter().any(|(bytes, message)| {
        let piece = &file.bytes[at..at + bytes];
        at += bytes;
        message.is_some() && piece[8..].windows(START.len()).any(|window| window == START)
    });
    // While such a record is not all there, what is inside of it passes for a record: no driver writes it.
    let cuts = if has_nested { Cuts(Vec::new()) } else { cuts };
    file.check(&pieces, &cuts);
}

/// What the driver writes, and what it means by it.
fn written(file: &mut Vec<u8>, source: &mut Unstructured<'_>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while !source.is_empty() && pieces.len() < 40 {
        let mut message = message(source);
        message.id = if message.end == End::Line && coin(source) {
            Id::Alone
        } else {
            Id::Of([vec![b'a'; 64], b"b".to_vec(), Vec::new()][below(source, 3)].clone())
        };
        if message.end == End::Unknown {
            message.end = End::Part;
        }
        let entry = entry(&message);
        let length = u32::try_from(entry.len()).expect("a short record").to_be_bytes();
        file.extend([&length[..], &entry, &length].concat());
        pieces.push((entry.len() + 8, Some(message)));
    }
    pieces
}

fn entry(message: &Message) -> Vec<u8> {
    let mut entry = Vec::new();
    bytes(1, message.stream.as_str().as_bytes(), &mut entry);
    integer(2, message.time.0 as u64, &mut entry);
    if !message.text.is_empty() {
        bytes(3, &message.text, &mut entry);
    }
    if message.id != Id::Alone {
        integer(4, 1, &mut entry);
        let mut metadata = Vec::new();
        if message.end == End::Line {
            integer(1, 1, &mut metadata);
        }
        if let Id::Of(id) = &message.id {
            bytes(2, id, &mut metadata);
        }
        integer(3, 1, &mut metadata);
        bytes(5, &metadata, &mut entry);
    }
    let mut attribute = Vec::new();
    bytes(1, b"tag", &mut attribute);
    bytes(6, &attribute, &mut entry);
    entry
}

fn bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn integer(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value, out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is in a file, however it came there: at each place a sound record, or a byte that is none.
fn read(file: &[u8]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let found = record(&file[at..]);
        let length = found.as_ref().map_or(1, |(length, _)| *length);
        pieces.push((length, found.map(|(_, message)| message)));
        at += length;
    }
    pieces
}

fn record(input: &[u8]) -> Option<(usize, Message)> {
    let (head, rest) = input.split_first_chunk::<4>()?;
    let length = u32::from_be_bytes(*head) as usize;
    let (entry, trailer) = rest.split_at_checked(length)?;
    let is_sound = length <= LONGEST - 8 && entry.starts_with(START) && trailer.starts_with(head);
    let message = read_entry(entry).filter(|_| is_sound)?;
    Some((length + 8, message))
}

/// A field's number and value.
enum Field {
    Integer(u64, u64),
    Bytes(u64, Vec<u8>),
}

fn read_entry(entry: &[u8]) -> Option<Message> {
    let (mut stream, mut time, mut text, mut is_partial, mut metadata) = (None, None, Vec::new(), false, Vec::new());
    for field in fields(entry)? {
        match field {
            Field::Bytes(1, source) => {
                stream = Stream::ALL
                    .into_iter()
                    .find(|stream| stream.as_str().as_bytes() == source)
            }
            Field::Integer(2, nanos) => time = Some(Time(nanos as i64)),
            Field::Bytes(3, line) => text = line,
            Field::Integer(4, flag) => is_partial = flag != 0,
            Field::Bytes(5, fields_of_it) => metadata = fields(&fields_of_it)?,
            _ => {}
        }
    }
    let (mut is_last, mut id) = (false, Vec::new());
    for field in metadata {
        match field {
            Field::Integer(1, flag) => is_last = flag != 0,
            Field::Bytes(2, bytes) => id = bytes,
            _ => {}
        }
    }
    let id = if is_partial { Id::Of(id) } else { Id::Alone };
    let end = if is_last || id == Id::Alone {
        End::Line
    } else {
        End::Part
    };
    Some(Message {
        time: time?,
        stream: stream?,
        text,
        end,
        id,
    })
}

fn fields(mut message: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = read_varint(&mut message)?;
        let number = tag >> 3;
        if number == 0 {
            return None;
        }
        let length = match tag & 7 {
            0 => {
                fields.push(Field::Integer(number, read_varint(&mut message)?));
                continue;
            }
            1 => 8,
            2 => usize::try_from(read_varint(&mut message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (bytes, rest) = message.split_at_checked(length)?;
        message = rest;
        if tag & 7 == 2 {
            fields.push(Field::Bytes(number, bytes.to_vec()));
        }
    }
    Some(fields)
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let length = message.iter().position(|byte| *byte < 0x80)? + 1;
    let (digits, rest) = message.split_at(length);
    *message = rest;
    // One bit of the tenth digit is left.
    let digit = |(place, byte): (usize, &u8)| u128::from(byte & 0x7f) << (7 * place);
    (length <= 10).then(|| digits.iter().enumerate().map(digit).sum::<u128>() as u64)
}
