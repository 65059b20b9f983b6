//! Where a container's log was left off, and how to go on from there.
//!
//! A bare timestamp cannot tell: the engine's `since` is inclusive, equal times are normal,
//! and times run backwards, because stdout and stderr are stamped before they race for the
//! log file. So a [`Position`] keeps the times *and fingerprints* of the last lines. A
//! reopened stream asks for those lines again, and a [`Replay`] drops them by recognising
//! them. Two facts make that exact:
//!
//! - The log is replayed in its own order. So whatever comes before the last remembered line
//!   was taken before, remembered or not, and the first new line is behind it. If that line
//!   has not come by then, it is no longer in the log, and others may be missing with it: a
//!   gap, which is counted.
//! - The end of the log is asked for by a number of records, not by a time. Only where it does
//!   not reach back far enough is a time asked for, which lies before the earliest of the
//!   remembered lines by more than writers of one container are ever held up. (Engine 20.10
//!   filters every line by it; newer ones stop filtering after the first match.)

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::unsettled::Unsettled;
use crate::engine::Since;
use crate::record::{Line, Stream, Time};

/// Lines that are remembered. One would do where times are never equal and never run back;
/// more of them make the evidence better.
const KEEP: usize = 32;
/// How far before the latest time a replay begins: longer than one writer of a container can
/// be held up between its line's time and its place in the log.
const MARGIN_NANOS: i64 = 250_000_000;

/// Records that are asked for from the end of a log: more than can be written while a stream
/// is reopened, nearly always. Parts of long lines count, too.
const TAIL: u32 = 2_000;

/// A line as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    pub time: Time,
    pub print: u64,
}

impl Seen {
    pub fn of(line: &Line<'_>) -> Self {
        Self {
            time: line.time,
            print: Self::print(line.stream, line.bytes),
        }
    }

    pub fn print(stream: Stream, bytes: &[u8]) -> u64 {
        let stream = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        XxHash3_64::oneshot(bytes) ^ stream
    }
}

/// The last lines that were taken from a container's log, in the log's order.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    seen: VecDeque<Seen>,
    /// The latest time among the lines that have been forgotten.
    forgotten: Option<Time>,
    /// The earliest time of a line that has begun and not ended: all its parts carry it.
    begun: Option<Time>,
    /// Lines that were taken without their line feed, because the container had ended. They come again when a later line
    /// of their stream ends them, which can be behind others.
    open: Vec<Seen>,
    #[serde(default, skip_serializing_if = "Unsettled::is_empty")]
    pub unsettled: Unsettled,
}

impl Clone for Position {
    fn clone(&self) -> Self {
        let mut new = Self::default();
        new.clone_from(self);
        new
    }

    /// Allocates nothing where there is room: it is called after each read. The derived one would not use the room.
    fn clone_from(&mut self, from: &Self) {
        let Self {
            seen,
            forgotten,
            begun,
            open,
            unsettled,
        } = from;
        self.seen.clone_from(seen);
        self.forgotten.clone_from(forgotten);
        self.begun.clone_from(begun);
        self.open.clone_from(open);
        self.unsettled.clone_from(unsettled);
    }
}

impl Position {
    /// Moves on by one line.
    pub fn note(&mut self, line: &Line<'_>) {
        let seen = Seen::of(line);
        self.open.retain(|open| *open != seen);
        if self.seen.len() >= KEEP
            && let Some(oldest) = self.seen.pop_front()
        {
            self.forgotten = self.forgotten.max(Some(oldest.time));
        }
        self.seen.push_back(seen);
    }

    /// Moves on by a line that never got its line feed. There are at most two, of each stream one, for each end.
    pub fn note_open(&mut self, line: &Line<'_>) {
        self.open.push(Seen::of(line));
        if self.open.len() > Stream::ALL.len() {
            self.open.remove(0);
        }
    }

    /// A line has begun; `None`: none has that has not ended. Tells whether that is news.
    pub fn set_begun(&mut self, begun: Option<Time>) -> bool {
        std::mem::replace(&mut self.begun, begun) != begun
    }

    /// Whether no line was ever taken.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.open.is_empty() && self.unsettled.is_empty()
    }

    /// The time of the last line that was taken.
    pub fn last(&self) -> Option<Time> {
        self.seen.back().map(|seen| seen.time)
    }

    /// Whether one of the last lines, or one that has begun, is of this time.
    pub fn knows(&self, time: Time) -> bool {
        let mut seen = self.seen.iter().rev().chain(&self.open);
        self.begun == Some(time) || seen.any(|seen| seen.time == time)
    }

    /// What to ask the engine for. With `tail`, only the end of the log is asked for: if it does not reach back to the
    /// last line that was taken, the replay finds a gap. Not so where a line has begun, as its parts can be many, or where
    /// lines wait.
    pub fn since(&self, tail: bool) -> Since {
        if self.seen.is_empty() {
            return Since::Beginning;
        }
        let times = self.seen.iter().chain(&self.open).map(|seen| seen.time);
        let Some(earliest) = times.chain(self.begun).chain(self.unsettled.earliest()).min() else {
            return Since::Beginning;
        };
        let time = Time(earliest.0.saturating_sub(MARGIN_NANOS));
        if tail && self.ends_at_last() {
            return Since::Tail {
                records: TAIL,
                or_since: time,
            };
        }
        Since::Time(time)
    }

    /// Whether nothing before the last line is still wanted.
    fn ends_at_last(&self) -> bool {
        self.begun.is_none() && !self.unsettled.has_waiting()
    }

    /// Recognises what a stream that was opened with [`Position::since`] replays.
    pub fn replay(&self, tail: bool) -> Option<Replay> {
        let mut expected = HashMap::with_capacity(self.seen.len());
        for &seen in self.seen.iter().chain(&self.open) {
            *expected.entry(seen).or_insert(0) += 1;
        }
        (!expected.is_empty()).then(|| Replay {
            expected,
            open: self.open.clone(),
            last: self.seen.back().copied(),
            forgotten: self.forgotten,
            left: if tail && self.ends_at_last() { TAIL } else { u32::MAX },
            live: false,
        })
    }
}

/// The very last lines of a live stream, to know a repeat by.
///
/// When its log driver begins a new file, Engine 20.10 can follow that file, then hear of the change, and read it from its
/// start once more: the last lines come twice, in order, with their times.
#[derive(Debug, Default)]
pub struct Recent {
    lines: VecDeque<Seen>,
    latest: Option<Time>,
    /// The line before came again.
    repeating: bool,
}

/// Lines that are known as recent: more than are written between a change of files and its notice.
const RECENT: usize = 1024;
/// How long before the latest line one is still recent.
const RECENT_NANOS: i64 = 2_000_000_000;

impl Recent {
    /// Whether a line has come before. Else it is known from now on.
    pub fn repeats(&mut self, line: &Line<'_>) -> bool {
        let seen = Seen::of(line);
        // Times nearly always go on, and then there is nothing to search for.
        if self.latest >= Some(seen.time) && self.lines.contains(&seen) {
            // Where a driver's clock is too coarse to tell two lines apart, equal ones at the end are two; but not where
            // those before it have come again.
            let is_coarse = seen.time.0 % 1_000 == 0;
            self.repeating |= !is_coarse || self.lines.back() != Some(&seen);
            if self.repeating {
                return true;
            }
        }
        self.repeating = false;
        self.latest = self.latest.max(Some(seen.time));
        let oldest = seen.time.0.saturating_sub(RECENT_NANOS);
        while self.lines.len() >= RECENT || self.lines.front().is_some_and(|line| line.time.0 < oldest) {
            self.lines.pop_front();
        }
        self.lines.push_back(seen);
        false
    }

    /// Gives back the room that a busy stretch took.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a line of a reopened stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken before.
    Seen,
    /// It is new.
    New,
    /// It is new, and the lines before it did not come again.
    NewAfterGap,
}

/// The lines that a reopened stream is expected to repeat.
#[derive(Debug)]
pub struct Replay {
    expected: HashMap<Seen, u32>,
    /// Those that can come behind new ones.
    open: Vec<Seen>,
    /// The last of the others, in the log's order. `None` once it has come.
    last: Option<Seen>,
    forgotten: Option<Time>,
    /// Lines among which the last one must be.
    left: u32,
    /// A new line has come; all that follow are new, but for the open ones.
    live: bool,
}

impl Replay {
    /// Whether the last line that was taken has come again: what the stream still repeats is
    /// no further back, and nothing is missing in between.
    pub fn has_caught_up(&self) -> bool {
        self.last.is_none()
    }

    /// Whether a new line has come: there is no way back to another connection.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Whether nothing is left to be recognised.
    pub fn is_over(&self) -> bool {
        self.live && self.expected.is_empty()
    }

    /// Judges one line.
    pub fn judge(&mut self, line: &Line<'_>) -> Verdict {
        let seen = Seen::of(line);
        if let Some(count) = self.expected.get_mut(&seen) {
            *count -= 1;
            if *count == 0 {
                self.expected.remove(&seen);
            }
            if self.last == Some(seen) && !self.expected.contains_key(&seen) {
                self.last = None;
            }
            return Verdict::Seen;
        }
        if self.live || self.last.is_none() {
            self.go_live();
            return Verdict::New;
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 && self.forgotten >= Some(seen.time) {
            return Verdict::Seen;
        }
        self.go_live();
        Verdict::NewAfterGap
    }

    fn go_live(&mut self) {
        if !self.live {
            self.live = true;
            self.last = None;
            self.expected.retain(|seen, _| self.open.contains(seen));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of the model: its time, and its text.
    type Entry = (i64, String);

    fn line(entry: &Entry) -> Line<'_> {
        Line {
            time: Time(entry.0),
            stream: Stream::Stdout,
            bytes: entry.1.as_bytes(),
            truncated: false,
        }
    }

    /// What an engine sends that holds `log`: `all` filters every line (20.10), or else none
    /// after the first that matches.
    fn engine(log: &[Entry], since: Since, all: bool) -> Vec<Entry> {
        let since = match since {
            Since::Beginning => return log.to_vec(),
            Since::Time(since) => since,
            Since::Tail { records, .. } => return log[log.len().saturating_sub(records as usize)..].to_vec(),
        };
        let matches = |entry: &&Entry| entry.0 >= since.0;
        if all {
            log.iter().filter(matches).cloned().collect()
        } else {
            log.iter().skip_while(|e| !matches(e)).cloned().collect()
        }
    }

    /// Reads a stream to its end; gives what was new, and whether a gap was found.
    fn read(position: &mut Position, sent: &[Entry], tail: bool, take: usize) -> (Vec<Entry>, bool) {
        let mut replay = position.replay(tail);
        let (mut new, mut gap) = (Vec::new(), false);
        for entry in &sent[..take.min(sent.len())] {
            let verdict = replay.as_mut().map_or(Verdict::New, |r| r.judge(&line(entry)));
            match verdict {
                Verdict::Seen => continue,
                Verdict::New => {}
                Verdict::NewAfterGap => gap = true,
            }
            position.note(&line(entry));
            new.push(entry.clone());
        }
        (new, gap)
    }

    /// A small random generator with a seed that a failure shows (xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
    }

    /// Times that go on, stand still, or run back by less than the margin; equal texts too.
    fn random_log(random: &mut Random, lines: usize) -> Vec<Entry> {
        let mut time = 1_000_000_000_000;
        let step = [1, 1_000, 1_000_000, 50_000_000][random.below(4) as usize];
        // Lines of one time and one text cannot be told apart once they are forgotten; on a
        // clock that counts nanoseconds there are not thousands of them.
        let texts = if step < 1_000_000 { u64::MAX } else { 3 };
        (0..lines)
            .map(|_| {
                time += random.below(step) as i64;
                let back = random.below(8) == 0;
                let jitter = if back {
                    random.below(MARGIN_NANOS as u64 / 2) as i64
                } else {
                    0
                };
                (time - jitter, format!("text {}", random.below(texts)))
            })
            .collect()
    }

    #[test]
    fn nothing_is_lost_or_doubled_wherever_the_stream_is_cut() {
        for seed in 1..200_u64 {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let lines = 50 + random.below(6_000) as usize;
            let log = random_log(&mut random, lines);
            let filters_all = random.below(2) == 0;
            let mut position = Position::default();
            let mut got = Vec::new();
            let mut written = 0;
            let mut streams = 0;
            while got.len() < log.len() {
                streams += 1;
                assert!(streams < 1_000, "seed {seed}: {} of {} lines", got.len(), log.len());
                // The log grows between two streams, and the reader takes some of it.
                written = (written + random.below(2_000) as usize).min(log.len());
                let take = random.below(10_000) as usize;
                let before = position.clone();
                let sent = engine(&log[..written], position.since(true), filters_all);
                let (mut new, gap) = read(&mut position, &sent, true, take);
                if gap {
                    // The end of the log did not reach back far enough: all of it, then.
                    position = before;
                    let sent = engine(&log[..written], position.since(false), filters_all);
                    let gap;
                    (new, gap) = read(&mut position, &sent, false, take);
                    assert!(!gap, "seed {seed}: a gap where there is none");
                }
                got.extend(new);
            }
            assert!(got == log, "seed {seed}");
        }
    }

    #[test]
    fn a_log_that_lost_its_beginning_is_a_gap() {
        let log: Vec<Entry> = (0..1_000).map(|i| (i * 1_000_000_000, format!("{i}"))).collect();
        let mut position = Position::default();
        read(&mut position, &log, false, 500);
        let sent = engine(&log[600..], position.since(false), true);
        let (new, gap) = read(&mut position, &sent, false, usize::MAX);
        assert!(gap);
        assert_eq!(new.len(), 400);
    }

    #[test]
    fn a_line_that_has_begun_is_asked_for_again() {
        let mut position = Position::default();
        for i in 0..1_000 {
            position.note(&line(&(1_000_000_000_000 + i * 1_000_000_000, "x".into())));
        }
        let begun = Time(1_000_500_000_000);
        assert!(position.set_begun(Some(begun)));
        assert_eq!(position.since(true), Since::Time(Time(begun.0 - MARGIN_NANOS)));
        assert!(position.set_begun(None));
        let since = position.since(true);
        assert!(matches!(since, Since::Tail { records: TAIL, .. }), "{since:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        const HOUR: i64 = 3_600_000_000_000;
        let entry = |i: i64| {
            (
                100 * HOUR + i * 1_000_000_000 + if i < 50 { HOUR } else { 0 },
                format!("{i}"),
            )
        };
        let log: Vec<Entry> = (0..100).map(entry).collect();
        for filters_all in [true, false] {
            for cut in 0..100 {
                let mut position = Position::default();
                let (mut got, _) = read(&mut position, &log, false, cut);
                let sent = engine(&log, position.since(true), filters_all);
                let (new, gap) = read(&mut position, &sent, true, usize::MAX);
                assert!(!gap, "cut at {cut}");
                got.extend(new);
                assert!(got == log, "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_line_without_its_line_feed_comes_again_behind_others() {
        let mut position = Position::default();
        let at = |i: i64, text: &str| (1_000_000_000_000 + i, text.to_owned());
        position.note(&line(&at(1, "whole")));
        position.note_open(&line(&at(2, "no end")));
        // The next run writes to the other stream first; only then is the old line ended.
        let sent = [at(1, "whole"), at(3, "stderr"), at(2, "no end"), at(4, "next")];
        let (new, gap) = read(&mut position, &sent, true, usize::MAX);
        assert!(!gap);
        assert_eq!(new, [at(3, "stderr"), at(4, "next")]);
    }

    #[test]
    fn a_block_that_the_engine_repeats_is_known() {
        let mut recent = Recent::default();
        let mut new = |entry: &Entry| !recent.repeats(&line(entry));
        let at = |i: i64| (1_000_000_000_001 + i * 2_000_001, format!("{i}"));
        for i in 0..3_000 {
            assert!(new(&at(i)), "{i}");
            if i % 500 == 0 {
                for repeat in (i - 40).max(0)..=i {
                    assert!(!new(&at(repeat)), "{repeat} again after {i}");
                }
            }
        }
        // Equal texts at other times, and other texts at equal times, are other lines.
        assert!(new(&(at(2_999).0 + 1, "2999".into())));
        assert!(new(&(at(2_999).0, "other".into())));
        // A clock of microseconds.
        assert!(new(&(2_000_000_000_000, "x".into())));
        assert!(new(&(2_000_000_000_000, "x".into())));
    }

    #[test]
    fn memory_is_bounded() {
        let mut position = Position::default();
        for i in 0..100_000 {
            position.note(&line(&(i, "x".into())));
        }
        assert_eq!(position.seen.len(), KEEP);
    }
}
