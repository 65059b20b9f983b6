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
//! - The end of the log is asked for by a number of records, not by a time (but see [`Since::Tail`]
//!   for Podman), and for more of them where it does not reach back far enough ([`Reach`]). Only where a line has begun is
//!   a time asked for, which lies before the earliest of the remembered lines by more than writers of one container are
//!   ever held up. (Engine 20.10 filters every line by it; newer ones stop filtering after the first match.)
//!
//! Whether the last line is still in a log shows at the end of all that there is. A line that is unknown, and later than all
//! that was forgotten, only shows it sooner. Where it is not there, all is read once more: the log loses its beginning first,
//! so what comes behind the remembered lines that it still has is new, whatever the clocks say.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::reach::Reach;
use super::seen::Seen;
use super::tally::Tally;
use super::unsettled::Unsettled;
use crate::record::{Line, Since, Stream, Time};
use crate::source::{EVIDENCE, Mark};

/// Lines that are remembered. One would do where times are never equal and never run back;
/// more of them make the evidence better.
const KEEP: usize = EVIDENCE as usize;
/// How far before the latest time a replay begins: longer than one writer of a container can
/// be held up between its line's time and its place in the log.
const MARGIN_NANOS: i64 = 250_000_000;

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
    /// What the last lines alone do not say.
    #[serde(default, skip_serializing_if = "Unsettled::is_empty")]
    pub unsettled: Unsettled,
    /// A place in the log's files before which nothing is wanted, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    /// How many lines that were.
    #[serde(default)]
    pub tally: Tally,
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
            mark,
            tally,
        } = from;
        self.seen.clone_from(seen);
        self.forgotten.clone_from(forgotten);
        self.begun.clone_from(begun);
        self.open.clone_from(open);
        self.unsettled.clone_from(unsettled);
        self.mark = *mark;
        self.tally.clone_from(tally);
    }
}

impl Position {
    /// Moves on by one line.
    pub fn note(&mut self, line: &Line<'_>) {
        self.note_seen(Seen::of(line));
    }

    /// See [`Self::note`].
    pub fn note_seen(&mut self, seen: Seen) {
        self.open.retain(|open| *open != seen);
        if self.seen.len() >= KEEP
            && let Some(oldest) = self.seen.pop_front()
        {
            self.forgotten = self.forgotten.max(Some(oldest.time));
        }
        self.seen.push_back(seen);
    }

    /// Moves on by a line before which others were taken that nobody knows any more. A replay takes those for forgotten.
    pub fn note_after_hole(&mut self, line: &Line<'_>) {
        self.note(line);
        self.forgotten = self.forgotten.max(Some(line.time));
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

    /// The log's files hold nothing before this place that is still wanted.
    pub fn set_mark(&mut self, mark: Mark) {
        self.mark = Some(mark);
    }

    /// The last place that [`Self::set_mark`] was told.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// Whether no line was ever taken.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty() && self.open.is_empty() && self.unsettled.is_empty()
    }

    /// The time of the last line that was taken.
    pub fn last(&self) -> Option<Time> {
        self.seen.back().map(|seen| seen.time)
    }

    /// The last line that was taken.
    pub(super) fn last_seen(&self) -> Option<Seen> {
        self.seen.back().copied()
    }

    /// Whether the last lines are all later than `now`: the clock was set back. An engine that goes by the time would hide
    /// what comes next.
    pub fn is_ahead_of(&self, now: Time) -> bool {
        let earliest = self.seen.iter().map(|seen| seen.time).min();
        earliest.is_some_and(|earliest| earliest > now)
    }

    /// Whether one of the last lines, or one that has begun, is of this time.
    pub fn knows(&self, time: Time) -> bool {
        let mut seen = self.seen.iter().rev().chain(&self.open);
        self.begun == Some(time) || seen.any(|seen| seen.time == time)
    }

    /// The last lines that were taken.
    pub fn remembered(&self) -> impl Iterator<Item = Seen> {
        self.seen.iter().copied()
    }

    /// The latest time among the lines that were taken before them.
    pub fn forgotten(&self) -> Option<Time> {
        self.forgotten
    }

    /// The log has lost its last lines, of which a replay of all that there is expected to bring some.
    pub fn lose(&mut self, replay: &Replay) {
        self.seen.retain(|seen| !replay.expected.contains_key(seen));
        self.open.clear();
        if self.seen.is_empty() {
            self.forgotten = None;
        }
    }

    /// None of the lines that were taken is in the log any more.
    pub fn all_are_gone(&mut self) {
        self.seen.clear();
        self.open.clear();
        self.forgotten = None;
    }

    /// What to ask the engine for. If it does not reach back to the last line that was taken, the replay finds a gap, or
    /// does not catch up. A line that has begun is asked for by the time, as its parts can be many, and so are lines that
    /// wait. No time is later than `now`: the clock may have been set back since the last line.
    pub fn since(&self, reach: Reach, now: Time) -> Since {
        let times = self.seen.iter().chain(&self.open).map(|seen| seen.time);
        let times = times.chain(self.begun).chain(self.unsettled.earliest());
        let (Some(records), Some(earliest), false) = (reach.records(), times.min(), self.seen.is_empty()) else {
            return Since::Beginning;
        };
        let time = Time(earliest.min(now).0.saturating_sub(MARGIN_NANOS));
        let by_number = self.ends_at_last() || reach.is_limited();
        match (by_number, reach.is_of_the_end()) {
            (true, _) => Since::Tail {
                records,
                or_since: time,
            },
            (false, true) => Since::Time(time),
            (false, false) => Since::Beginning,
        }
    }

    /// Whether nothing before the last line is still wanted.
    fn ends_at_last(&self) -> bool {
        self.begun.is_none() && !self.unsettled.has_waiting()
    }

    /// Recognises what a stream replays that was opened with what [`Position::since`] said.
    pub fn replay(&self, since: Since) -> Option<Replay> {
        let left = match since {
            Since::Tail { records, .. } => records,
            Since::Beginning | Since::Time(_) => u32::MAX,
        };
        self.replay_of(left, None)
    }

    /// Recognises what a stream of all that there is replays. The last line is not in it, but so many of those remembered
    /// before it.
    pub fn replay_of_rest(&self, evidence: u32) -> Option<Replay> {
        self.replay_of(u32::MAX, Some(evidence))
    }

    fn replay_of(&self, left: u32, evidence: Option<u32>) -> Option<Replay> {
        let mut expected = HashMap::with_capacity(self.seen.len());
        for &seen in self.seen.iter().chain(&self.open) {
            *expected.entry(seen).or_insert(0) += 1;
        }
        (!expected.is_empty()).then(|| Replay {
            expected,
            open: self.open.clone(),
            last: self.seen.back().copied(),
            forgotten: self.forgotten,
            left,
            evidence,
            matched: 0,
            passed_over: 0,
            live: false,
        })
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
    /// The last one will not come, but so many of those before it.
    evidence: Option<u32>,
    /// How many of the expected ones have come.
    matched: u32,
    /// Lines that were taken for forgotten ones.
    passed_over: u32,
    /// A new line has come; all that follow are new, but for the open ones.
    live: bool,
}

impl Replay {
    /// Whether the last line that was taken has come again: what the stream still repeats is
    /// no further back, and nothing is missing in between.
    pub fn has_caught_up(&self) -> bool {
        self.last.is_none()
    }

    /// The stream has brought all that it has, and holds a line that began at this time and has no line feed. If one of the
    /// last lines is of that time, it is that line: it was taken when the container had ended, and comes again when it ends.
    pub fn ends_with_begun(&mut self, begun: Time) {
        if self.expected.keys().all(|seen| seen.time != begun) {
            return;
        }
        if self.last.take_if(|last| begun <= last.time).is_some() {
            let held = self.expected.keys().filter(|seen| begun <= seen.time);
            self.open.extend(held);
        }
    }

    /// How many of the remembered lines have come.
    pub fn matched(&self) -> u32 {
        self.matched
    }

    /// Whether it brings what is left of a log that has lost the last line, and is behind what was taken of it.
    pub fn is_behind_evidence(&self) -> bool {
        self.evidence.is_some_and(|evidence| self.matched >= evidence)
    }

    /// Whether lines were taken for forgotten ones that may be new, where a gap has shown behind them.
    pub fn has_passed_over(&self) -> bool {
        self.passed_over > 0 && self.evidence.is_none()
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
        self.judge_seen(Seen::of(line))
    }

    pub(super) fn judge_seen(&mut self, seen: Seen) -> Verdict {
        if let Some(count) = self.expected.get_mut(&seen) {
            *count -= 1;
            if *count == 0 {
                self.expected.remove(&seen);
            }
            self.matched += 1;
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
        let is_forgotten = match self.evidence {
            Some(evidence) => self.matched < evidence,
            None => self.left > 0 && self.forgotten >= Some(seen.time),
        };
        if is_forgotten {
            self.passed_over = self.passed_over.saturating_add(1);
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
mod tests;
