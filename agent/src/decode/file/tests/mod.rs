//! Every format, on what real drivers wrote (`samples`) and on what harm does to it (`damage`), and what is lent of it.

mod damage;
mod escaped;
mod limits;
mod samples;

use super::*;
use crate::decode::{Damaged, Decoder, Transfer};
use crate::record::{Line, Stream};

const MAX: usize = 1 << 20;

/// A line: its nanoseconds, stream, text, and whether it was cut.
type Got = (i64, Stream, Vec<u8>, bool);

fn got(line: &Line<'_>) -> Got {
    (line.time.0, line.stream, line.bytes.to_vec(), line.truncated)
}

/// What a decoder made of a file.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    lines: Vec<Got>,
    damaged: Vec<Damaged>,
    records: u64,
}

impl Decoded {
    fn texts(&self) -> Vec<String> {
        let lines = self.lines.iter();
        lines
            .map(|line| String::from_utf8_lossy(&line.2).into_owned())
            .collect()
    }

    fn damage(&self) -> Vec<(u64, u64)> {
        self.damaged
            .iter()
            .map(|damaged| (damaged.offset, damaged.bytes))
            .collect()
    }

    fn take(&mut self, found: Found<'_>) {
        match found {
            Found::Line(line) => self.lines.push(got(&line)),
            Found::Damaged(damaged) => self.damaged.push(damaged),
        }
    }
}

/// Decodes a file that grows to each of the cuts, and then ends, as its container does.
fn decode(decoder: &mut FileDecoder, file: &[u8], cuts: impl IntoIterator<Item = usize>) -> Decoded {
    let mut decoded = Decoded::default();
    let mut scratch = Vec::new();
    let mut from = 0;
    for cut in cuts.into_iter().chain([file.len()]) {
        let fed = decoder.feed(from as u64, &file[from..cut], &mut scratch, &mut |found| {
            decoded.take(found)
        });
        from += fed.bytes;
        decoded.records += fed.records;
    }
    let fed = decoder.end_file(from as u64, &file[from..], &mut scratch, &mut |found| {
        decoded.take(found)
    });
    decoded.records += fed.records;
    assert_eq!(from + fed.bytes, file.len(), "something is left of the file");
    decoder.finish(&mut |found| decoded.take(found));
    decoded
}

/// Decodes a file that is all there.
fn whole(format: Format, file: &[u8]) -> Decoded {
    decode(&mut FileDecoder::new(format, MAX, false), file, [])
}
