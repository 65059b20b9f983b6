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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stream;

    #[test]
    fn a_block_that_the_engine_repeats_is_known() {
        let mut recent = Recent::default();
        let mut new = |entry: &(i64, String)| {
            !recent.repeats(&Line {
                time: Time(entry.0),
                stream: Stream::Stdout,
                bytes: entry.1.as_bytes(),
                truncated: false,
            })
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
        // A clock of microseconds.
        assert!(new(&(2_000_000_000_000, "x".into())));
        assert!(new(&(2_000_000_000_000, "x".into())));
    }
}
