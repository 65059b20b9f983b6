//! A request is filled with as many records as it can have.

use std::ops::Range;

use super::super::batch::{Record, Records};
use super::parts::Parts;
use super::repeats::Repeats;
use crate::encode::{Encode, Entry};

/// Largest request before it is compressed, but for the record that fills it. Stores take 4 MiB and more.
const LIMIT: usize = 1 << 20;
/// What a record takes beside its line, about.
const AROUND: usize = 512;

/// Writes requests in a store's encoding.
pub(super) struct Filler<E> {
    encode: E,
    repeats: Repeats,
    /// The last request, before it is compressed.
    plain: Vec<u8>,
}

/// What a request was filled with.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// The numbers that were looked at.
    pub range: Range<usize>,
    /// How many records are in it.
    pub records: usize,
    /// How many lines were cut.
    pub cut: u64,
}

impl<E: Encode> Filler<E> {
    pub(super) fn new(encode: E) -> Self {
        Self {
            encode,
            repeats: Repeats::default(),
            plain: Vec::new(),
        }
    }

    /// A batch begins: each of its records is seen once.
    pub(super) fn begin(&mut self, records: &Records) {
        self.repeats.note(records);
    }

    /// Writes the first records of `range` that are not refused, as many as a request can have.
    pub(super) fn fill(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> (Filled, &[u8]) {
        let Self { encode, repeats, plain } = self;
        plain.clear();
        let mut filled = Filled {
            range: range.start..range.start,
            records: 0,
            cut: 0,
        };
        let mut current: Option<(Entry<'_>, E::Group)> = None;
        for (number, record) in range.clone().zip(records.range(range)) {
            if filled.records > 0 && plain.len() + record.span.length as usize + AROUND > LIMIT {
                break;
            }
            filled.range.end = number + 1;
            if parts.is_refused(number) {
                continue;
            }
            let entry = entry(&record, repeats.of(number));
            if let Some((_, group)) = current.take_if(|(one, _)| !encode.is_same_group(one, &entry)) {
                encode.end(group, plain);
            }
            if current.is_none() {
                current = Some((entry, encode.begin(&entry, plain)));
            }
            filled.cut += u64::from(encode.add(&entry, plain));
            filled.records += 1;
        }
        if let Some((_, group)) = current {
            encode.end(group, plain);
        }
        (filled, plain)
    }
}

fn entry<'a>(record: &Record<'a>, repeated: u32) -> Entry<'a> {
    Entry {
        container: record.container,
        host: record.host,
        time: record.time,
        stream: record.stream,
        text: record.text,
        span: record.span,
        truncated: record.truncated,
        repeated,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{Written, records};
    use super::*;

    /// Lines, with the container before each group.
    struct Plain;

    impl Encode for Plain {
        type Group = ();

        fn is_same_group(&self, one: &Entry<'_>, next: &Entry<'_>) -> bool {
            one.container.name == next.container.name
        }

        fn begin(&self, first: &Entry<'_>, out: &mut Vec<u8>) {
            out.extend_from_slice(first.container.name.as_bytes());
            out.push(b'(');
        }

        fn add(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool {
            entry.span.append_line(entry.text, out);
            out.push(b' ');
            false
        }

        fn end(&self, (): (), out: &mut Vec<u8>) {
            out.push(b')');
        }
    }

    #[test]
    fn records_are_grouped_and_what_is_refused_is_left_out() {
        let written = [
            Written("a", 1, "1"),
            Written("a", 2, "2"),
            Written("b", 3, "3"),
            Written("a", 4, "4"),
        ];
        let records = records(&written);
        let (mut filler, mut parts) = (Filler::new(Plain), Parts::default());
        filler.begin(&records);
        parts.begin(4);
        let mut fill = |range, parts: &Parts| {
            let (filled, plain) = filler.fill(&records, range, parts);
            (filled.range, filled.records, String::from_utf8(plain.to_vec()).unwrap())
        };
        assert_eq!(fill(0..4, &parts), (0..4, 4, "a(1 2 )b(3 )a(4 )".to_owned()));
        parts.refuse(2);
        assert_eq!(fill(1..4, &parts), (1..4, 2, "a(2 4 )".to_owned()));
        parts.refuse(1);
        assert_eq!(fill(1..3, &parts), (1..3, 0, String::new()));
    }

    #[test]
    fn a_request_is_bounded_and_has_one_record_at_least() {
        let (long, longer) = ("x".repeat(400_000), "x".repeat(2_000_000));
        let written = [
            Written("a", 1, &long),
            Written("a", 2, &long),
            Written("a", 3, &long),
            Written("a", 4, &longer),
        ];
        let records = records(&written);
        let (mut filler, mut parts) = (Filler::new(Plain), Parts::default());
        filler.begin(&records);
        parts.begin(4);
        let (filled, plain) = filler.fill(&records, 0..4, &parts);
        assert_eq!(filled.range, 0..2);
        assert!(plain.len() <= LIMIT);
        assert_eq!(filler.fill(&records, 2..4, &parts).0.range, 2..3);
        assert_eq!(filler.fill(&records, 3..4, &parts).0.range, 3..4);
    }
}
