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
//! - `since` lies before the latest time by more than lines are ever out of order. (Engine
//!   20.10 filters every line by time; newer ones stop filtering after the first match.)

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

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
struct Seen {
    time: Time,
    print: u64,
}

impl Seen {
    fn of(line: &Line<'_>) -> Self {
        let stream = match line.stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        Self {
            time: line.time,
            print: XxHash3_64::oneshot(line.bytes) ^ stream,
        }
    }
}

/// The last lines that were taken from a container's log, in the log's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    seen: VecDeque<Seen>,
    /// The latest time among the lines that have been forgotten.
    forgotten: Option<Time>,
    latest: Option<Time>,
}

impl Position {
    /// Moves on by one line.
    pub fn note(&mut self, line: &Line<'_>) {
        self.latest = self.latest.max(Some(line.time));
        if self.seen.len() == KEEP
            && let Some(oldest) = self.seen.pop_front()
        {
            self.forgotten = self.forgotten.max(Some(oldest.time));
        }
        self.seen.push_back(Seen::of(line));
    }

    /// The latest time of a line that was taken.
    pub fn latest(&self) -> Option<Time> {
        self.latest
    }

    /// What to ask the engine for. `pending` is the time of a line that has begun and not
    /// ended: all its parts carry that time. With `tail`, only the end of the log is asked for:
    /// if it does not reach back to the last line that was taken, the replay finds a gap.
    pub fn since(&self, pending: Option<Time>, tail: bool) -> Since {
        match self.first_to_ask() {
            None => Since::Beginning,
            Some(first) => {
                let first = first.min(pending.unwrap_or(first));
                if tail {
                    Since::TimeInTail(first, TAIL)
                } else {
                    Since::Time(first)
                }
            }
        }
    }

    fn first_to_ask(&self) -> Option<Time> {
        self.latest.map(|latest| Time(latest.0 - MARGIN_NANOS))
    }

    /// Recognises what a stream that was opened with [`Position::since`] replays.
    pub fn replay(&self, tail: bool) -> Option<Replay> {
        let asked = self.first_to_ask()?;
        let mut expected = HashMap::with_capacity(self.seen.len());
        for &seen in &self.seen {
            *expected.entry(seen).or_insert(0) += 1;
        }
        Some(Replay {
            expected,
            last: self.seen.iter().rev().find(|seen| seen.time >= asked).copied(),
            forgotten: self.forgotten,
            left: if tail { TAIL } else { u32::MAX },
        })
    }
}

/// What a line of a reopened stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was taken before.
    Seen,
    /// It is new, and so are all that follow.
    New,
    /// It is new, and the lines before it did not come again.
    NewAfterGap,
}

/// The lines that a reopened stream is expected to repeat.
#[derive(Debug)]
pub struct Replay {
    expected: HashMap<Seen, u32>,
    /// The last of them in the log's order. `None` once it has come.
    last: Option<Seen>,
    forgotten: Option<Time>,
    /// Lines among which the last one must be.
    left: u32,
}

impl Replay {
    /// Whether the last line that was taken has come again: what the stream still repeats is
    /// no further back, and nothing is missing in between.
    pub fn has_caught_up(&self) -> bool {
        self.last.is_none()
    }

    /// Judges one line. After a verdict of new, the replay is over.
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
        if self.last.is_none() {
            return Verdict::New;
        }
        self.left = self.left.saturating_sub(1);
        if self.left > 0 && self.forgotten >= Some(seen.time) {
            return Verdict::Seen;
        }
        Verdict::NewAfterGap
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
        let (since, log) = match since {
            Since::Beginning => return log.to_vec(),
            Since::Time(since) => (since, log),
            Since::TimeInTail(since, n) => (since, &log[log.len().saturating_sub(n as usize)..]),
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
            replay = None;
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
                let sent = engine(&log[..written], position.since(None, true), filters_all);
                let (mut new, gap) = read(&mut position, &sent, true, take);
                if gap {
                    // The end of the log did not reach back far enough: all of it, then.
                    position = before;
                    let sent = engine(&log[..written], position.since(None, false), filters_all);
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
        let sent = engine(&log[600..], position.since(None, false), true);
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
        assert_eq!(position.since(Some(begun), false), Since::Time(begun));
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
