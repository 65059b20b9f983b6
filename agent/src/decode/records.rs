//! A file is a row of records, and of damage. What all formats have in common.

use super::merge::{Merge, Message};
use crate::record::{Line, Time};

/// No record is longer. What would be is damage: without a bound, one wrong byte could make a reader wait for ever.
/// Docker's longest is a part of 16 KiB with each byte escaped, and the attributes of its container.
pub const LONGEST: usize = 1 << 20;

/// What a file has.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// A whole line.
    Line(Line<'a>),
    /// Damage. The records behind it are sound again.
    Damaged(Damaged),
}

/// A stretch of a file without a sound record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// How far a decoder came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fed {
    /// Bytes that are not wanted again.
    pub bytes: usize,
    /// Sound records among them. Several of them can be parts of one line.
    pub records: u64,
}

/// What the next bytes of a file are.
pub(super) enum Step<'a> {
    /// A record of so many bytes, or a piece of one that is longer than [`LONGEST`].
    Record {
        message: Message<'a>,
        bytes: usize,
        is_whole: bool,
    },
    /// So many bytes that are no record.
    Damage(usize),
    /// The start of a record.
    Wait,
}

/// Tells the records of one format.
pub(super) trait Format: Default {
    /// What the next bytes are. What cannot be lent from `input` goes to `scratch`. It does not wait where [`LONGEST`] bytes
    /// are there.
    fn next<'a>(&mut self, input: &'a [u8], scratch: &'a mut Vec<u8>) -> Step<'a>;

    /// What a file ends with that will not grow any more. `rest` is what `next` waits for, or nothing.
    fn last<'a>(&mut self, rest: &'a [u8], scratch: &'a mut Vec<u8>) -> Step<'a>;
}

/// Reads the files of one container.
#[derive(Debug)]
pub(super) struct Reader<F> {
    format: F,
    merge: Merge,
    /// Its end has not been seen yet.
    damaged: Option<Damaged>,
}

impl<F: Format> Reader<F> {
    pub(super) fn new(max_line_bytes: usize, tty: bool) -> Self {
        Self {
            format: F::default(),
            merge: Merge::new(max_line_bytes, tty),
            damaged: None,
        }
    }

    pub(super) fn feed(
        &mut self,
        offset: u64,
        input: &[u8],
        scratch: &mut Vec<u8>,
        out: &mut impl FnMut(Found<'_>),
    ) -> Fed {
        let mut fed = Fed::default();
        while fed.bytes < input.len() {
            let at = fed.bytes;
            let step = self.format.next(&input[at..], scratch);
            if let Step::Wait = step {
                break;
            }
            self.take(step, offset + at as u64, &mut fed, out);
        }
        fed
    }

    pub(super) fn end_file(
        &mut self,
        offset: u64,
        rest: &[u8],
        scratch: &mut Vec<u8>,
        out: &mut impl FnMut(Found<'_>),
    ) -> Fed {
        let mut fed = Fed::default();
        let step = self.format.last(rest, scratch);
        self.take(step, offset, &mut fed, out);
        self.report(out);
        fed
    }

    pub(super) fn finish(&mut self, out: &mut impl FnMut(Found<'_>)) {
        self.merge.finish(&mut |line| out(Found::Line(line)));
    }

    pub(super) fn pending_since(&self) -> Option<Time> {
        self.merge.pending_since()
    }

    fn take(&mut self, step: Step<'_>, offset: u64, fed: &mut Fed, out: &mut impl FnMut(Found<'_>)) {
        match step {
            Step::Wait => {}
            Step::Damage(bytes) => {
                fed.bytes += bytes;
                let damaged = self.damaged.get_or_insert(Damaged { offset, bytes: 0 });
                damaged.bytes += bytes as u64;
            }
            Step::Record {
                message,
                bytes,
                is_whole,
            } => {
                self.report(out);
                fed.bytes += bytes;
                fed.records += u64::from(is_whole);
                self.merge.message(&message, &mut |line| out(Found::Line(line)));
            }
        }
    }

    /// Damage has come to its end.
    fn report(&mut self, out: &mut impl FnMut(Found<'_>)) {
        if let Some(damaged) = self.damaged.take_if(|damaged| damaged.bytes > 0) {
            out(Found::Damaged(damaged));
        }
    }
}

/// How many NULs the bytes start with: what a file has where it was truncated under its writer, and where a power loss
/// has taken what was written last. No record starts with one.
pub(super) fn leading_nuls(input: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let blocks = input
        .chunks_exact(BLOCK)
        .take_while(|block| **block == [0; BLOCK])
        .count();
    let from = blocks * BLOCK;
    from + input[from..].iter().take_while(|byte| **byte == 0).count()
}
