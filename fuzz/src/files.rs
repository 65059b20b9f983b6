//! What the formats of log files have in common: a file that grows, parts that are merged, and harm.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use log_capturer::decode::{FileDecoder, Format, Found};
use log_capturer::encode::{Decoded, Encoder, Fields, Tail};
use log_capturer::record::{Container, ContainerId, Line, Stream, Time};

use crate::parts::{End, Got, Id, Message, PART, Parts};
use crate::{Cuts, assert_same, below, coin, within};

/// A stretch of a file, and what it says; `None` for damage.
pub(crate) type Piece = (usize, Option<Message>);

/// A file, and how it is read.
pub(crate) struct File {
    pub format: Format,
    pub bytes: Vec<u8>,
    pub max: usize,
    pub tty: bool,
}

impl File {
    pub(crate) fn new(format: Format, source: &mut Unstructured<'_>) -> Self {
        let max = if coin(source) { 1 + below(source, 100) } else { 1 << 20 };
        Self {
            format,
            bytes: Vec::new(),
            max,
            tty: coin(source),
        }
    }

    /// Holds the decoder to what the file consists of, wherever it is cut when it is read.
    pub(crate) fn check(&self, pieces: &[Piece], cuts: &Cuts) {
        assert_eq!(pieces.iter().map(|(bytes, _)| bytes).sum::<usize>(), self.bytes.len());
        let wanted = self.wanted(pieces);
        // A record is looked at anew with each byte: of a long one that would be for ever.
        let cuts = Cuts(
            cuts.0
                .iter()
                .copied()
                .take(if self.bytes.len() < PART { 7 } else { 6 })
                .collect(),
        );
        for cuts in [&cuts, &Cuts(Vec::new())] {
            let got = self.decode(cuts);
            assert_same(&got.damaged, &wanted.damaged);
            assert_same(&got.lines, &wanted.lines);
            assert_eq!(got.records, wanted.records, "{cuts:?}");
        }
        // A line that is pending, and the text of one record.
        within(8 * self.bytes.len() as u64 + 1024, || {
            let mut decoder = FileDecoder::new(self.format, self.max, self.tty);
            decoder.feed(0, &self.bytes, &mut Vec::new(), &mut |_| ());
        });
    }

    fn decode(&self, cuts: &Cuts) -> Outcome {
        let mut decoder = FileDecoder::new(self.format, self.max, self.tty);
        let mut decoded = Outcome::default();
        let (mut from, mut there, mut scratch) = (0, 0, b"of another file".to_vec());
        for piece in cuts.apply(&self.bytes) {
            there += piece.len();
            let input = &self.bytes[from..there];
            let fed = decoder.feed(from as u64, input, &mut scratch, &mut |found| decoded.take(found));
            from += fed.bytes;
            decoded.records += fed.records;
        }
        let rest = &self.bytes[from..];
        let fed = decoder.end_file(from as u64, rest, &mut scratch, &mut |found| decoded.take(found));
        assert_eq!(fed.bytes, rest.len(), "something is left of the file");
        decoded.records += fed.records;
        decoder.finish(&mut |found| decoded.take(found));
        assert_eq!(decoder.pending_since(), None);
        decoded
    }

    fn wanted(&self, pieces: &[Piece]) -> Outcome {
        let mut wanted = Outcome::default();
        let mut parts = Parts::new(self.max, self.tty);
        let (mut at, mut damaged_to) = (0, None);
        for (bytes, message) in pieces {
            let bytes = *bytes as u64;
            if let Some(message) = message {
                wanted.records += 1;
                parts.take(message.clone());
            } else if bytes > 0 {
                match wanted.damaged.last_mut() {
                    Some((_, length)) if damaged_to == Some(at) => *length += bytes,
                    _ => wanted.damaged.push((at, bytes)),
                }
                damaged_to = Some(at + bytes);
            }
            at += bytes;
        }
        wanted.lines = parts.finish();
        wanted
    }
}

/// What a decoder found, and where.
#[derive(Default)]
struct Outcome {
    lines: Vec<Got>,
    damaged: Vec<(u64, u64)>,
    records: u64,
}

impl Outcome {
    fn take(&mut self, found: Found<'_>) {
        match found {
            Found::Line(line) if !escapes_right(&line) => panic!("{line:?}"),
            Found::Line(line) => self
                .lines
                .push((line.time, line.stream, line.bytes.to_vec(), line.truncated)),
            Found::Damaged(damaged) => self.damaged.push((damaged.offset, damaged.bytes)),
        }
    }
}

/// Whether a record has the line's bytes, for those who parse it and for those who take the text from its place.
fn escapes_right(line: &Line<'_>) -> bool {
    static TAIL: LazyLock<Tail> = LazyLock::new(|| {
        let container = Container {
            id: ContainerId::new("0"),
            name: String::new(),
            image: String::new(),
            labels: BTreeMap::new(),
        };
        Tail::new(&Arc::new(container), "", &Fields::new(&[], &[]).expect("no pattern"))
    });
    let (mut record, mut text) = (Vec::new(), Vec::new());
    let span = Encoder::default().encode(line, None, &TAIL, &mut record);
    span.append_line(&record, &mut text);
    let decoded = Decoded::from_json(&record).expect("a record");
    text == line.bytes && decoded.bytes == line.bytes
}

/// A message of some container. Few times and ids, so that some are equal.
pub(crate) fn message(source: &mut Unstructured<'_>) -> Message {
    let length = below(source, 60).min(source.len());
    let mut text = source.bytes(length).unwrap_or_default().to_vec();
    text.retain(|byte| *byte != b'\n');
    if below(source, 64) == 1 {
        text.resize(PART - below(source, 2), b'x');
    }
    let end = [End::Line, End::Line, End::Part, End::Unknown][below(source, 4)];
    Message {
        time: time(source),
        stream: Stream::ALL[below(source, 2)],
        text,
        end,
        id: Id::Unknown,
    }
}

fn time(source: &mut Unstructured<'_>) -> Time {
    let nanos = [0, 1, 500_000_000, 662_848_374, 999_999_999][below(source, 5)];
    Time(1_795_187_098_000_000_000 + nanos + below(source, 2) as i64 * 1_000_000_000)
}

/// Any time that an engine may write.
pub(crate) fn parse(text: &str) -> Option<Time> {
    let is_full = text.len() >= "2026-11-20T15:04:58".len() && text.starts_with(|first: char| first.is_ascii_digit());
    let time: jiff::Timestamp = text.parse().ok().filter(|_| is_full && !text.contains(' '))?;
    Some(Time(time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64))
}

/// What power losses and hands do to a file.
pub(crate) fn harm(file: &mut Vec<u8>, source: &mut Unstructured<'_>) {
    for _ in 0..below(source, 4) {
        let at = below(source, file.len() + 1);
        let length = below(source, 40).min(file.len() - at);
        match below(source, 5) {
            0 => file[at..at + length].fill(0),
            1 => drop(file.drain(at..at + length)),
            2 => {
                let bytes = source.bytes(length.min(source.len())).unwrap_or_default().to_vec();
                drop(file.splice(at..at, bytes));
            }
            // What is there comes again in the middle of itself.
            3 => {
                let bytes = file[at..].to_vec();
                drop(file.splice(at + length..at + length, bytes));
            }
            _ => file.truncate(at),
        }
    }
}
