//! One record that a store will never take, and why.
//!
//! ```text
//! 9f86d081884c7d65 {"refused":"2026-11-28T06:00:00Z","sink":"main","reason":"too_old","said":"400: ...","labels":{},"record":{...}}
//! └─ of the text behind it
//! ```

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::super::batch::{Record, Records};
use crate::encode::{Decoded, Encoder, Fields, Tail};
use crate::record::{Container, ContainerId};

/// Hexadecimal digits of a checksum.
const DIGITS: usize = 16;
/// Labels of a container that stores are told of. A record need not name them.
const LABELS: [&str; 2] = ["com.docker.compose.project", "com.docker.compose.service"];

/// Why a record was refused.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Refusal<'a> {
    /// When.
    pub(super) refused: &'a str,
    /// The sink whose store refuses it.
    pub(super) sink: &'a str,
    /// A label: of a fixed set.
    pub(super) reason: &'a str,
    /// What the store has said.
    pub(super) said: &'a str,
}

/// A letter that was read back.
#[derive(Debug, Deserialize)]
pub struct Letter {
    /// When the record was refused.
    pub refused: String,
    /// The sink whose store refuses it.
    pub sink: String,
    /// A label: of a fixed set.
    pub reason: String,
    labels: BTreeMap<String, String>,
    record: serde_json::Value,
}

/// What a record says of its container.
#[derive(Deserialize)]
struct Owned {
    container: Owner,
    host: String,
}

#[derive(Deserialize)]
struct Owner {
    id: String,
    name: String,
    image: String,
}

/// Appends a letter.
pub(super) fn write(refusal: &Refusal<'_>, record: &Record<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + DIGITS, b'0');
    out.push(b' ');
    let text = out.len();
    let labels = &record.container.labels;
    let labels: BTreeMap<_, _> = LABELS.iter().filter_map(|&key| Some((key, labels.get(key)?))).collect();
    // A Vec takes all that is written, and strings have nothing in them that could fail.
    let _ = serde_json::to_writer(&mut *out, refusal);
    out.pop();
    out.extend_from_slice(b",\"labels\":");
    let _ = serde_json::to_writer(&mut *out, &labels);
    out.extend_from_slice(b",\"record\":");
    out.extend_from_slice(record.text.trim_ascii_end());
    out.push(b'}');
    let sum = XxHash3_64::oneshot(&out[text..]);
    let _ = write!(&mut out[start..text - 1], "{sum:016x}");
    out.push(b'\n');
}

/// The text of each letter that is whole. What is cut off, or was changed, is left out.
pub(super) fn texts(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|&byte| byte == b'\n').filter_map(text)
}

fn text(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, text) = line.split_at_checked(DIGITS)?;
    let text = text.strip_prefix(b" ")?;
    let sum = u64::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (XxHash3_64::oneshot(text) == sum).then_some(text)
}

/// The records of letters, as they were.
pub(super) fn records<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Records {
    let (mut records, mut encoder) = (Records::default(), Encoder::default());
    let mut last: Option<Tail> = None;
    for text in texts {
        // What has the right checksum was written by this program.
        let Some((letter, owned)) = read(text) else { continue };
        let Some(decoded) = decoded(&letter) else { continue };
        let is_of = |tail: &Tail| {
            let container = tail.container();
            container.id.as_str() == owned.container.id && container.name == owned.container.name
        };
        if !last.as_ref().is_some_and(is_of) {
            last = tail(letter.labels, owned);
        }
        if let Some(tail) = &last {
            records.push(&mut encoder, &decoded.line(), decoded.lines, tail);
        }
    }
    records
}

fn read(text: &[u8]) -> Option<(Letter, Owned)> {
    let letter: Letter = serde_json::from_slice(text).ok()?;
    let owned = Owned::deserialize(&letter.record).ok()?;
    Some((letter, owned))
}

fn decoded(letter: &Letter) -> Option<Decoded> {
    Decoded::from_json(&serde_json::to_vec(&letter.record).ok()?)
}

fn tail(labels: BTreeMap<String, String>, owned: Owned) -> Option<Tail> {
    let Owner { id, name, image } = owned.container;
    let container = Container {
        id: ContainerId::new(&id),
        name,
        image,
        labels: labels.into_iter().collect(),
    };
    // The record in JSON is not what a store is sent.
    let fields = Fields::new(&[], &[]).ok()?;
    Some(Tail::new(&Arc::new(container), &owned.host, &fields))
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{Written, records as written};
    use super::*;

    fn letters(of: &[Written<'_>]) -> Vec<u8> {
        let refusal = Refusal {
            refused: "2026-11-28T06:00:00Z",
            sink: "main",
            reason: "too_old",
            said: "400: \"old\"",
        };
        let mut out = Vec::new();
        for record in written(of).iter() {
            write(&refusal, &record, &mut out);
        }
        out
    }

    #[test]
    fn a_letter_says_why_and_its_record_can_be_had_back() {
        let of = [
            Written("web", 7, "one \"quoted\""),
            Written("web", 8, ""),
            Written("db", 9, "t\u{f6}ne\n"),
        ];
        let file = letters(&of);
        let letter: Letter = serde_json::from_slice(texts(&file).next().unwrap()).unwrap();
        assert_eq!((letter.sink.as_str(), letter.reason.as_str()), ("main", "too_old"));
        let back = records(texts(&file));
        let shown = |record: Record<'_>| {
            let mut line = Vec::new();
            record.span.append_line(record.text, &mut line);
            let container = record.container;
            let of_container = (container.name.clone(), container.id.clone(), container.image.clone());
            (of_container, record.host.to_owned(), record.time, record.stream, line)
        };
        let expected: Vec<_> = written(&of).iter().map(shown).collect();
        assert_eq!(back.iter().map(shown).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn cut_off_or_changed_anywhere_the_other_letters_are_read() {
        let file = letters(&[
            Written("web", 1, "one"),
            Written("web", 2, "two"),
            Written("web", 3, "six"),
        ]);
        let ends: Vec<_> = file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').collect();
        for at in 0..file.len() {
            let whole = ends.iter().filter(|(end, _)| *end < at).count();
            assert_eq!(texts(&file[..at]).count(), whole, "cut at {at}");
            let mut changed = file.clone();
            changed[at] ^= 1;
            let left = texts(&changed).count();
            // A line feed that was changed makes two letters one.
            let fewest = if file[at] == b'\n' { 1 } else { 2 };
            assert!((fewest..=2).contains(&left), "{left} with a change at {at}");
        }
    }
}
