//! What a log's streams have brought, and how to compare it with the log itself.
//!
//! An engine that follows a log which it rotates can skip whole files, and says nothing of it. A request that does not
//! follow reads all files as they are by then. So what came is counted and hashed, line by line, from a line that is known
//! to be followed by the next: the log must have the same lines behind that one.
//!
//! Not all of it has to be compared. Who skips a file leaves a hole in the lines' times that is as long as it took to write
//! that file. Where no two lines are so far apart, nothing can be missing between them.

use super::seen::Seen;
use crate::record::Time;

/// Nanoseconds in which no container writes more than a byte.
const A_BYTE: u64 = 10;
/// Bytes that a record of the engine's files takes beside its line.
const BESIDE: u64 = 80;
/// No log is rotated that has less than this.
const LEAST: u64 = 4096;
const SECOND: i64 = 1_000_000_000;
/// A line that is older than this when its stream is opened was in the log by then: no rotation hides it. Clocks of the
/// engine's machine and of the agent's may be apart by as much.
const OLD: i64 = 60 * SECOND;

/// A mark that must be in the log, and what must follow it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::capture) struct Stretch {
    /// `None`: the log's beginning.
    pub(in crate::capture) behind: Option<Seen>,
    pub(in crate::capture) lines: u32,
    bytes: u64,
    chain: u64,
}

impl Stretch {
    /// Records that hold it, parts of long lines among them, with some that may have come since.
    pub(in crate::capture) fn records(self) -> u32 {
        let parts = u32::try_from(self.bytes / (16 * 1024)).unwrap_or(u32::MAX);
        self.lines.saturating_add(parts).saturating_add(256)
    }

    fn add(&mut self, seen: Seen) {
        self.lines = self.lines.saturating_add(1);
        let chain = (self.chain.rotate_left(5) ^ seen.fingerprint).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.chain = chain.wrapping_add_signed(seen.time.0);
    }
}

/// Whether the engine rotates the log's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotation {
    Unknown,
    Never,
    At {
        max_size: u64,
        /// Nanoseconds that it takes to write a file of that size.
        hole: i64,
    },
}

/// Keeps count of what has come since the last comparison.
#[derive(Debug)]
pub struct Witness {
    rotation: Rotation,
    stretch: Stretch,
    last: Option<Seen>,
    /// Two lines were so far apart that a file may be missing between them.
    is_suspect: bool,
    /// Lines from before are no matter of doubt.
    old: Time,
    /// A second of the lines' times, and the bytes in it.
    second: (i64, u64),
    /// All bytes.
    total: u64,
    /// A gap is before the next line.
    breaks_off: bool,
}

impl Default for Witness {
    fn default() -> Self {
        Self {
            rotation: Rotation::Unknown,
            stretch: Stretch::default(),
            last: None,
            is_suspect: false,
            old: Time(0),
            second: (0, 0),
            total: 0,
            breaks_off: false,
        }
    }
}

impl Witness {
    /// The engine has told at which size it rotates the log's files, if it does.
    pub(in crate::capture) fn learn(&mut self, max_size: Option<u64>) {
        self.rotation = match max_size {
            None => Rotation::Never,
            Some(max_size) => Rotation::At {
                max_size,
                hole: i64::try_from(max_size.saturating_mul(A_BYTE)).unwrap_or(i64::MAX),
            },
        };
        // Nobody has looked for holes so far.
        self.is_suspect = true;
    }

    /// Whether the engine is to be asked how it rotates the log: it is not known, and as much has come as a file may hold.
    pub(in crate::capture) fn is_ignorant(&self) -> bool {
        self.rotation == Rotation::Unknown && self.stretch.bytes >= LEAST
    }

    fn max_size(&self) -> Option<u64> {
        match self.rotation {
            Rotation::At { max_size, .. } => Some(max_size),
            Rotation::Unknown | Rotation::Never => None,
        }
    }

    /// A stream is opened.
    pub(in crate::capture) fn begins(&mut self, now: Time, last: Option<Seen>) {
        self.old = Time(now.0.saturating_sub(OLD));
        if self.last != last {
            self.restart(last);
        }
    }

    /// What follows is behind this line, and nothing before it is compared any more.
    pub(in crate::capture) fn restart(&mut self, last: Option<Seen>) {
        self.last = last;
        self.stretch = Stretch {
            behind: last,
            ..Stretch::default()
        };
        self.is_suspect = false;
    }

    /// A gap was counted: what is compared next begins with the next line.
    pub(in crate::capture) fn breaks_off(&mut self) {
        self.breaks_off = true;
    }

    /// A new line has come.
    pub fn note(&mut self, seen: Seen, bytes: usize) {
        if self.rotation == Rotation::Never {
            return;
        }
        let size = bytes as u64 + BESIDE;
        let time = seen.time.0;
        if let (Rotation::At { hole, .. }, Some(last)) = (self.rotation, self.last) {
            self.is_suspect |= time.saturating_sub(last.time.0) >= hole;
        }
        if time.abs_diff(self.second.0) > SECOND.unsigned_abs() {
            self.second = (time, 0);
        }
        self.second.1 += size;
        self.total += size;
        self.last = Some(seen);
        self.stretch_on(seen, size);
    }

    fn stretch_on(&mut self, seen: Seen, size: u64) {
        if seen.time < self.old || std::mem::take(&mut self.breaks_off) {
            self.restart(Some(seen));
            return;
        }
        self.stretch.bytes += size;
        self.stretch.add(seen);
    }

    /// Whether the log is written so fast that whoever follows it may lose his place.
    pub(in crate::capture) fn bursts(&self) -> bool {
        self.max_size().is_some_and(|max_size| self.second.1 > max_size / 4)
    }

    /// The burst is over, if so little came meanwhile.
    pub(in crate::capture) fn calm(&mut self, brought: u64) -> bool {
        let is_calm = self.max_size().is_none_or(|max_size| brought < max_size / 64);
        if is_calm {
            self.second.1 = 0;
        }
        is_calm
    }

    pub(in crate::capture) fn total(&self) -> u64 {
        self.total
    }

    /// Whether what is to be compared should be so now: when as much more has come as a file holds, the line before it may be
    /// deleted.
    pub(in crate::capture) fn is_pressing(&self) -> bool {
        self.is_suspect
            && self
                .max_size()
                .is_some_and(|max_size| self.stretch.bytes > max_size / 2)
    }

    /// What is to be compared with the log. What cannot have a hole is let go.
    pub(in crate::capture) fn suspect(&mut self) -> Option<Stretch> {
        if self.stretch.lines == 0 || self.max_size().is_none() {
            return None;
        }
        if !self.is_suspect {
            self.restart(self.last);
            return None;
        }
        Some(self.stretch)
    }

    /// It was compared.
    pub(in crate::capture) fn compared(&mut self) {
        self.restart(self.last);
    }
}

/// A log that is compared with what its streams have brought.
#[derive(Debug)]
pub(in crate::capture) struct Comparison {
    wanted: Stretch,
    found: Option<Stretch>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::capture) enum Outcome {
    Same,
    /// Lines are in the log that did not come, or the other way round.
    Other,
    /// The line behind which they must be is not among those that were read.
    NotFound,
}

impl Comparison {
    pub(in crate::capture) fn new(wanted: Stretch) -> Self {
        Self {
            wanted,
            found: wanted.behind.is_none().then(Stretch::default),
        }
    }

    pub(in crate::capture) fn take(&mut self, seen: Seen) {
        match &mut self.found {
            None if self.wanted.behind == Some(seen) => self.found = Some(Stretch::default()),
            None => {}
            Some(found) if found.lines < self.wanted.lines => found.add(seen),
            Some(_) => {}
        }
    }

    pub(in crate::capture) fn outcome(&self) -> Outcome {
        match &self.found {
            None => Outcome::NotFound,
            Some(found) if (found.lines, found.chain) == (self.wanted.lines, self.wanted.chain) => Outcome::Same,
            Some(_) => Outcome::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(time: i64) -> Seen {
        Seen {
            time: Time(time),
            fingerprint: time.unsigned_abs().wrapping_mul(31),
        }
    }

    fn outcome(stretch: Stretch, log: impl Iterator<Item = i64>) -> Outcome {
        let mut comparison = Comparison::new(stretch);
        log.for_each(|time| comparison.take(seen(time)));
        comparison.outcome()
    }

    #[test]
    fn lines_that_the_stream_skipped_are_seen_and_lines_that_it_has_not_brought_yet_are_none() {
        let mut witness = Witness::default();
        witness.begins(Time(0), Some(seen(1)));
        witness.learn(Some(100_000));
        witness.compared();
        for number in (2..20).chain(30..40) {
            witness.note(seen(number * 1_000_000), 10);
        }
        let stretch = witness.suspect().expect("a hole of ten milliseconds");
        let log =
            |numbers: std::ops::Range<i64>| numbers.map(|number| if number == 1 { 1 } else { number * 1_000_000 });
        assert_eq!(outcome(stretch, log(1..50)), Outcome::Other);
        assert_eq!(outcome(stretch, log(1..20).chain(log(30..50))), Outcome::Same);
        assert_eq!(outcome(stretch, log(1..20).chain(log(30..35))), Outcome::Other);
        assert_eq!(outcome(stretch, log(2..50)), Outcome::NotFound);
        witness.compared();
        assert!(witness.suspect().is_none());
    }

    #[test]
    fn without_a_hole_nothing_is_compared_and_a_burst_is_one_of_the_lines_own_times() {
        let mut witness = Witness::default();
        witness.begins(Time(0), None);
        witness.learn(Some(1_000_000));
        witness.compared();
        for number in 0..2_000 {
            witness.note(seen(1 + number * 1_000_000), 20);
        }
        assert!(witness.suspect().is_none() && !witness.bursts());
        for number in 0..3_000 {
            witness.note(seen(2_000_000_001 + number * 100_000), 20);
        }
        assert!(witness.bursts());
        assert!(!witness.calm(100_000) && witness.bursts());
        assert!(witness.calm(10_000) && !witness.bursts());
    }
}
