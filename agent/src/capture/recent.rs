//! What an engine repeats by itself, on a stream that goes on.

use std::collections::VecDeque;

use super::seen::Seen;
use crate::record::{Line, Time};

/// The very last lines of a live stream, to know a repeat by.
///
/// When its log driver begins a new file, Engine 20.10 can follow that file, then hear of the change, and read it from its
/// start once more: the last lines come twice, in order, with their times.
#[derive(Debug, Default)]
pub struct Recent {
    lines: VecDeque<Seen>,
    latest: Option<Time>,
    /// The latest time among those that were forgotten since the clock was set back last.
    forgotten: Option<Time>,
    /// The line before came again.
    repeating: bool,
}

/// Lines that are known as recent: more than are written between a change of files and its notice.
const RECENT: usize = 1024;
/// How long before the latest line one is still recent.
const RECENT_NANOS: i64 = 2_000_000_000;
/// Lines that are recent whatever their age: more than a small file has of a container that writes seldom.
const LEAST: usize = 32;
/// How far times of one container run back by themselves: see `resume`.
const HELD_UP: i64 = 250_000_000;
const SECOND: i64 = 1_000_000_000;

/// What a line is to those that came lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// It is known from now on.
    New,
    /// It has come before.
    Repeat,
    /// It is not later than what was forgotten: a repeat from long ago, or the clock was set back. The log's own order tells
    /// which.
    Doubtful,
}

impl Recent {
    /// Judges a line.
    pub fn judge(&mut self, line: &Line<'_>) -> Recall {
        self.judge_seen(Seen::of(line))
    }

    /// See [`Self::judge`].
    pub fn judge_seen(&mut self, seen: Seen) -> Recall {
        // Times nearly always go on, and then there is nothing to search for.
        if self.latest >= Some(seen.time) {
            if self.is_repeat(seen) {
                return Recall::Repeat;
            }
            if self.is_doubtful(seen) {
                return Recall::Doubtful;
            }
        }
        self.repeating = false;
        self.remember(seen);
        Recall::New
    }

    /// A line has come that is new for sure.
    pub fn note(&mut self, line: &Line<'_>) {
        self.note_seen(Seen::of(line));
    }

    /// See [`Self::note`].
    pub fn note_seen(&mut self, seen: Seen) {
        self.repeating = false;
        // Where the clock was set back, what was forgotten before says nothing of what comes. (Twice as much: what was
        // likely forgotten is that much too late.)
        let latest = Time(seen.time.0.saturating_add(2 * HELD_UP));
        self.forgotten = self.forgotten.filter(|forgotten| *forgotten <= latest);
        self.remember(seen);
    }

    /// A stream begins that has these lines before its first new one, and others of such times before them. Where there are
    /// none, whatever it brings is new.
    pub fn recall_all(&mut self, lines: impl Iterator<Item = Seen>, forgotten: Option<Time>) {
        let mut lines = lines.peekable();
        if lines.peek().is_none() {
            *self = Self::default();
        }
        if self.lines.is_empty() {
            lines.for_each(|seen| self.remember(seen));
            self.forgotten = forgotten.map(|time| self.likely_forgotten(time));
        }
    }

    /// The latest time that was forgotten before what is remembered, where the latest of all is `forgotten`: that can be of
    /// a clock that was set back since.
    fn likely_forgotten(&self, forgotten: Time) -> Time {
        let times = || self.lines.iter().map(|line| line.time.0);
        let latest = times().next_back().unwrap_or_default().saturating_add(HELD_UP);
        if forgotten.0 <= latest {
            return forgotten;
        }
        let earliest = times().filter(|time| *time <= latest).min().unwrap_or_default();
        Time(earliest.saturating_add(HELD_UP))
    }

    fn is_doubtful(&self, seen: Seen) -> bool {
        self.forgotten >= Some(seen.time) && seen.time.0 % SECOND != 0
    }

    fn is_repeat(&mut self, seen: Seen) -> bool {
        if !self.lines.contains(&seen) {
            return false;
        }
        // Where a driver's clock is too coarse to tell two lines apart, equal ones are two; but not where times run back,
        // or those before have come again. An engine with a clock of seconds repeats nothing.
        self.repeating |= match seen.time.0 {
            time if time % SECOND == 0 => false,
            time if time % 1_000 == 0 => self.lines.back().is_some_and(|last| seen.time < last.time),
            _ => true,
        };
        self.repeating
    }

    fn remember(&mut self, seen: Seen) {
        self.latest = self.latest.max(Some(seen.time));
        let oldest = seen.time.0.saturating_sub(RECENT_NANOS);
        while self.lines.len() > RECENT
            || self.lines.len() >= LEAST && self.lines.front().is_some_and(|line| line.time.0 < oldest)
        {
            let gone = self.lines.pop_front().map(|line| line.time);
            // Later ones are of a clock that was set back since.
            if gone <= Some(Time(seen.time.0.saturating_add(HELD_UP))) {
                self.forgotten = self.forgotten.max(gone);
            }
            if gone >= self.latest {
                self.latest = self.lines.iter().map(|line| line.time).max().max(Some(seen.time));
            }
        }
        self.lines.push_back(seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stream;

    fn line(time: i64, text: &str) -> Line<'_> {
        Line {
            time: Time(time),
            stream: Stream::Stdout,
            bytes: text.as_bytes(),
            truncated: false,
            escaped: None,
        }
    }

    #[test]
    fn a_repeat_is_known_though_the_lines_are_far_apart_and_doubted_where_it_is_too_old() {
        let mut recent = Recent::default();
        let hour = 3_600_000_000_001;
        recent.recall_all([Seen::of(&line(hour, "1"))].into_iter(), None);
        for i in 2..100 {
            assert_eq!(recent.judge(&line(i * hour, &i.to_string())), Recall::New);
            for repeat in (i - 20).max(1)..=i {
                let recall = recent.judge(&line(repeat * hour, &repeat.to_string()));
                assert_eq!(recall, Recall::Repeat, "{repeat}");
            }
        }
        assert_eq!(recent.judge(&line(hour, "1")), Recall::Doubtful);
    }

    #[test]
    fn a_clock_that_was_set_back_is_searched_for_no_longer_than_its_lines_are_recent() {
        let mut recent = Recent::default();
        for i in 0..2_000 {
            assert_eq!(recent.judge(&line(1_000_000_000_000_001 + i, "x")), Recall::New);
        }
        assert_eq!(recent.judge(&line(1, "x")), Recall::Doubtful);
        recent.note(&line(1, "x"));
        for i in 1..2_000 {
            assert_eq!(recent.judge(&line(1 + i, "x")), Recall::New);
        }
        assert_eq!(recent.latest, Some(Time(2_000)));
    }

    #[test]
    fn a_block_that_the_engine_repeats_is_known() {
        let mut recent = Recent::default();
        let mut new = |entry: &(i64, String)| {
            let recall = recent.judge(&line(entry.0, &entry.1));
            assert_ne!(recall, Recall::Doubtful);
            recall == Recall::New
        };
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
        // A clock of microseconds, and one of seconds.
        for time in [2_000_000_001_000, 2_001_000_000_000] {
            for text in ["x", "x", "", "x", ""] {
                assert!(new(&(time, text.into())));
            }
        }
    }
}
