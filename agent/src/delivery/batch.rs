//! Records on their way to the sinks.
//!
//! Their text is what sinks of JSON lines write as it is. Beside the text stands what a sink of another encoding needs of
//! each record, so that it need not parse the text: the container, the time, the stream, and where the line is.

mod frozen;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use crate::encode::{Encoder, Origin, Span, Tail, Writing};
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// Records in the order of their arrival.
#[derive(Debug, Default)]
pub struct Records {
    text: Vec<u8>,
    entries: Vec<Entry>,
    runs: Vec<Run>,
}

/// What is kept of one record beside its text: 32 bytes.
#[derive(Clone, Copy, Debug)]
struct Entry {
    time: Time,
    /// Where its text ends. It begins where the one before ends.
    end: usize,
    line_start: u32,
    line_length: u32,
    /// 0 for a record of a single line.
    lines: u32,
    writing: Writing,
    stream: Stream,
    truncated: bool,
}

/// Records that follow each other and are of one container: what one read brings is such a run.
#[derive(Debug)]
struct Run {
    origin: Arc<Origin>,
    /// The number of the first record behind it.
    end: usize,
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The container that wrote it.
    pub container: &'a Arc<Container>,
    /// The machine that the container runs on.
    pub host: &'a str,
    /// The time of its first line.
    pub time: Time,
    /// The output that it was written to.
    pub stream: Stream,
    /// Whether a part of it was cut off.
    pub truncated: bool,
    /// Where it was put together from several lines, how many.
    pub lines: Option<u32>,
    /// The whole record as a line of JSON, with its line feed.
    pub text: &'a [u8],
    /// Where in the text the line itself is.
    pub span: Span,
}

impl Records {
    /// Adds a record; `lines` tells how many lines it was put together from, where that is done.
    pub fn push(&mut self, encoder: &mut Encoder, line: &Line<'_>, lines: Option<u32>, tail: &Tail) {
        let span = encoder.encode(line, lines, tail, &mut self.text);
        self.entries.push(Entry {
            time: line.time,
            end: self.text.len(),
            line_start: span.start,
            line_length: span.length,
            lines: lines.unwrap_or_default(),
            writing: span.writing,
            stream: line.stream,
            truncated: line.truncated,
        });
        let end = self.entries.len();
        match self.runs.last_mut() {
            Some(run) if Arc::ptr_eq(&run.origin, tail.origin()) => run.end = end,
            _ => self.runs.push(Run {
                origin: Arc::clone(tail.origin()),
                end,
            }),
        }
    }

    /// All records, a line of JSON each.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The time of the first record.
    pub fn first_time(&self) -> Option<Time> {
        self.entries.first().map(|entry| entry.time)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Each record, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = Record<'_>> {
        self.range(0..self.len())
    }

    /// The records of these numbers, which are counted from 0.
    pub fn range(&self, range: Range<usize>) -> impl Iterator<Item = Record<'_>> {
        let mut start = match range.start.checked_sub(1) {
            Some(before) => self.entries[before].end,
            None => 0,
        };
        let first = self.runs.partition_point(|run| run.end <= range.start);
        let mut runs = self.runs[first..].iter().peekable();
        let entries = self.entries[range.clone()].iter();
        range.zip(entries).filter_map(move |(number, entry)| {
            while runs.next_if(|run| run.end <= number).is_some() {}
            let text = &self.text[start..entry.end];
            start = entry.end;
            let origin = &runs.peek()?.origin;
            Some(Record {
                container: &origin.container,
                host: &origin.host,
                time: entry.time,
                stream: entry.stream,
                truncated: entry.truncated,
                lines: (entry.lines > 0).then_some(entry.lines),
                text,
                span: Span {
                    start: entry.line_start,
                    length: entry.line_length,
                    writing: entry.writing,
                },
            })
        })
    }

    /// How many lines they are made of.
    pub(super) fn lines(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.lines.max(1))).sum()
    }

    /// Tells how many lines of each container these records are made of, of which the numbers are in order. A container can be
    /// told of more than once.
    pub(super) fn lines_of(&self, numbers: impl IntoIterator<Item = usize>, mut tell: impl FnMut(&ContainerId, u64)) {
        let (mut run, mut lines) = (0, 0);
        for number in numbers {
            if self.runs[run].end <= number {
                if lines > 0 {
                    tell(&self.runs[run].origin.container.id, lines);
                }
                lines = 0;
                while self.runs[run].end <= number {
                    run += 1;
                }
            }
            lines += u64::from(self.entries[number].lines.max(1));
        }
        if lines > 0 {
            tell(&self.runs[run].origin.container.id, lines);
        }
    }

    /// The same but for those of which `leave_out` says true.
    pub(super) fn without(&self, mut leave_out: impl FnMut(&Record<'_>) -> bool) -> Self {
        let mut kept = Self::default();
        let mut run = 0;
        for (number, record) in self.iter().enumerate() {
            while self.runs[run].end <= number {
                run += 1;
            }
            if leave_out(&record) {
                continue;
            }
            kept.text.extend_from_slice(record.text);
            kept.entries.push(Entry {
                end: kept.text.len(),
                ..self.entries[number]
            });
            let (origin, end) = (&self.runs[run].origin, kept.entries.len());
            match kept.runs.last_mut() {
                Some(last) if Arc::ptr_eq(&last.origin, origin) => last.end = end,
                _ => kept.runs.push(Run {
                    origin: Arc::clone(origin),
                    end,
                }),
            }
        }
        kept
    }

    /// Adds these behind the others.
    pub(super) fn append(&mut self, other: Self) {
        let (text, entries) = (self.text.len(), self.entries.len());
        self.text.extend_from_slice(&other.text);
        self.entries.extend(other.entries.into_iter().map(|entry| Entry {
            end: text + entry.end,
            ..entry
        }));
        self.runs.extend(other.runs.into_iter().map(|run| Run {
            end: entries + run.end,
            ..run
        }));
    }

    /// Removes all records, and keeps the room.
    pub fn clear(&mut self) {
        self.text.clear();
        self.entries.clear();
        self.runs.clear();
    }
}

/// Records that were handed to the sinks together. Every sink has the same ones, and when the last of them lets go, their
/// room is used again.
#[derive(Debug)]
pub struct Batch {
    number: u64,
    records: Records,
    spares: Arc<Spares>,
}

impl Batch {
    pub(super) fn new(number: u64, records: Records, spares: &Arc<Spares>) -> Self {
        Self {
            number,
            records,
            spares: Arc::clone(spares),
        }
    }

    /// Batches are counted from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the sinks are to write.
    pub fn records(&self) -> &Records {
        &self.records
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.spares.put(std::mem::take(&mut self.records));
    }
}

/// What batches leave for later ones, so that none of these allocates.
#[derive(Debug)]
pub(super) struct Spares {
    /// Room for more text is given back to the system: a few huge lines made it.
    most: usize,
    records: Mutex<Vec<Records>>,
}

impl Spares {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            records: Mutex::default(),
        })
    }

    pub(super) fn take(&self) -> Records {
        let mut spare = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    /// Gives back the room of all but so many batches.
    pub(super) fn keep(&self, most: usize) {
        let mut spare = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = if spare.len() > most {
            spare.split_off(most)
        } else {
            Vec::new()
        };
        drop(spare);
        drop(rest);
    }

    fn put(&self, mut records: Records) {
        if records.text.capacity() > self.most {
            return;
        }
        records.clear();
        let mut spare = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(records);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Decoded, Fields};

    fn tail(name: &str) -> Tail {
        let container = Container {
            id: ContainerId::new(name),
            name: name.to_owned(),
            image: "image".to_owned(),
            labels: Default::default(),
        };
        Tail::new(&Arc::new(container), "host", &Fields::new(&[], &[]).unwrap())
    }

    #[test]
    fn an_entry_is_small() {
        assert_eq!(size_of::<Entry>(), 32);
    }

    /// Whatever a record says in JSON, it says beside it.
    #[test]
    fn what_stands_beside_the_text_is_what_the_text_says() {
        let bytes: Vec<u8> = (0..=255).collect();
        let texts: [&[u8]; 7] = [
            b"",
            b"plain",
            "größe \u{2028}".as_bytes(),
            b"\"quoted\\\"",
            b"\x00\x1f\x7f\t\r\n\\n\\u0041",
            b"\xff not UTF-8",
            &bytes,
        ];
        let tails = [tail("north"), tail("south")];
        let (mut records, mut encoder) = (Records::default(), Encoder::default());
        let mut expected = Vec::new();
        for (number, text) in texts.iter().cycle().take(50).enumerate() {
            let line = Line {
                time: Time(1_795_187_098_000_000_000 + number as i64 * 700_000_000),
                stream: Stream::ALL[number % 2],
                bytes: text,
                truncated: number % 3 == 0,
                escaped: None,
            };
            let lines = (number % 5 == 0).then_some(1 + number as u32);
            let tail = &tails[usize::from(number % 11 > 6)];
            records.push(&mut encoder, &line, lines, tail);
            expected.push((line, lines, tail.container().clone()));
        }
        assert_eq!((records.len(), records.iter().count()), (50, 50));
        let mut text = Vec::new();
        for (record, (line, lines, container)) in records.iter().zip(&expected) {
            text.extend_from_slice(record.text);
            let decoded = Decoded::from_json(record.text).unwrap();
            assert_eq!((record.time, decoded.time), (line.time, line.time));
            assert_eq!((record.stream, decoded.stream), (line.stream, line.stream));
            assert_eq!((record.truncated, decoded.truncated), (line.truncated, line.truncated));
            assert_eq!((record.lines, decoded.lines), (*lines, *lines));
            assert!(Arc::ptr_eq(record.container, container));
            assert_eq!(record.host, "host");
            assert_eq!(decoded.container, container.id);
            let mut bytes = b"before ".to_vec();
            record.span.append_line(record.text, &mut bytes);
            assert_eq!(bytes, [b"before ", line.bytes].concat());
        }
        assert_eq!(text, records.text());
        for start in 0..records.len() {
            let texts = |record: Record<'_>| (record.text.to_vec(), record.container.name.clone());
            let rest: Vec<_> = records.range(start..records.len()).map(texts).collect();
            assert_eq!(rest, records.iter().skip(start).map(texts).collect::<Vec<_>>());
        }
        assert!(
            records.runs.len() < 12,
            "a run for each change of the container: {}",
            records.runs.len()
        );
    }

    #[test]
    fn lines_are_told_by_container_whatever_records_are_asked_for() {
        let (mut records, mut encoder) = (Records::default(), Encoder::default());
        let tails = [tail("north"), tail("south")];
        // One line of north, then records of 3 and 5 lines of south, then one line of north.
        for (place, lines) in [(0, None), (1, Some(3)), (1, Some(5)), (0, None)] {
            let line = Line {
                time: Time(1),
                stream: Stream::Stdout,
                bytes: b"text",
                truncated: false,
                escaped: None,
            };
            records.push(&mut encoder, &line, lines, &tails[place]);
        }
        let told = |numbers: &[usize]| {
            let mut told = Vec::new();
            records.lines_of(numbers.iter().copied(), |id, lines| told.push((id.to_string(), lines)));
            told
        };
        let of = |name: &str, lines| (name.to_owned(), lines);
        assert_eq!(told(&[0, 1, 2, 3]), [of("north", 1), of("south", 8), of("north", 1)]);
        assert_eq!(told(&[2, 3]), [of("south", 5), of("north", 1)]);
        assert_eq!(told(&[3]), [of("north", 1)]);
        assert_eq!(told(&[]), []);
    }

    #[test]
    fn the_room_of_a_batch_is_used_again_unless_it_is_huge() {
        let spares = Spares::new(1 << 10);
        let fill = |size| {
            let mut records = spares.take();
            records.text.resize(size, b'x');
            let capacity = records.text.capacity();
            drop(Batch::new(1, records, &spares));
            capacity
        };
        let kept = fill(1 << 9);
        assert_eq!(spares.take().text.capacity(), kept);
        fill(1 << 11);
        assert_eq!(spares.take().text.capacity(), 0);
        fill(1 << 9);
        spares.keep(0);
        assert_eq!(spares.take().text.capacity(), 0);
    }
}
