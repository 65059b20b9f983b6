//! Resuming: a log that grows and loses its beginning, or all of it, clocks that are set back and on by years, streams that are
//! cut, engines that repeat what they sent, and an agent that ends.

use std::collections::HashSet;

use arbitrary::Unstructured;
use log_capturer::capture::reach::Reach;
use log_capturer::capture::recent::{Recall, Recent};
use log_capturer::capture::resume::{Position, Replay, Verdict};
use log_capturer::record::Since;
use log_capturer::record::{Line, Stream, Time};

use crate::{below, coin};

/// Two writers of one container are apart by less, when their lines race for the log.
const RACE: i64 = 100_000_000;
const SECOND: i64 = 1_000_000_000;
const YEAR: i64 = 365 * 24 * 3_600 * SECOND;
/// More lines than an engine repeats by itself.
const REPEATS: usize = 5_000;
/// Lines that are known whatever their times.
const KNOWN: usize = 30;
/// More lines than a reopen asks for.
const MANY: usize = 2_500;

/// What an engine holds. A line's number is its place since the beginning.
struct Log {
    lines: Vec<(Time, String)>,
    /// Those before are deleted.
    first: usize,
    latest: i64,
    /// Those before were written before the clock was set last.
    since_clock: usize,
    /// No two lines have both time and text in common: nobody could tell them apart.
    known: HashSet<(Time, String)>,
    /// Engine 20.10 filters every line by the time, newer ones none behind the first that matches.
    filters_all: bool,
    /// Podman is asked for a time where others are asked for the last records.
    is_podman: bool,
}

/// An open connection.
struct Open {
    next: usize,
    since: Option<Time>,
    /// It brings all that there is.
    is_complete: bool,
    /// Where it ends: with what there was when it was opened, which repeats nothing by itself.
    end: Option<usize>,
    replay: Option<Replay>,
    /// What it has sent by now, and what it will send once more: as Engine 20.10 does when it begins a file.
    sent: Vec<usize>,
    again: Vec<usize>,
}

struct Agent {
    position: Position,
    recent: Recent,
    taken: Vec<usize>,
    gaps: usize,
    /// What the next connection is asked for.
    reach: Reach,
    /// The last line is not in the log any more, but so many of those remembered before it.
    evidence: Option<u32>,
    /// An engine that goes by the time may hide lines: the end of the log is read by number first.
    is_unsure: bool,
    /// A line came that could not be placed: the same.
    doubts: bool,
    /// That was done: the next connection goes on.
    is_checked: bool,
}

impl Default for Agent {
    fn default() -> Self {
        Self {
            position: Position::default(),
            recent: Recent::default(),
            taken: Vec::new(),
            gaps: 0,
            reach: Reach::END,
            evidence: None,
            is_unsure: true,
            doubts: false,
            is_checked: false,
        }
    }
}

/// Plays a log, its streams and its agents, and compares what was taken with what was written.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let mut log = Log {
        lines: Vec::new(),
        first: 0,
        latest: 1_795_187_098_000_000_000,
        since_clock: 0,
        known: HashSet::new(),
        filters_all: coin(&mut source),
        is_podman: coin(&mut source),
    };
    let mut agent = Agent::default();
    let mut open = None;
    while !source.is_empty() {
        match below(&mut source, 11) {
            0..=2 => log.grow(&mut source),
            3 | 4 => {
                let lines = below(&mut source, 2 * MANY);
                agent.read(&log, &mut open, lines);
            }
            5 => open = None,
            6 => {
                open = None;
                agent.restart();
            }
            7 => {
                if log.set_clock(&mut source) < 0 {
                    // The agent sees it, and opens the log again.
                    open = None;
                    agent.is_unsure = true;
                }
            }
            8 => {
                let is_live =
                    |open: &&mut Open| open.end.is_none() && open.replay.as_ref().is_none_or(Replay::has_caught_up);
                if let Some(open) = open.as_mut().filter(is_live) {
                    // From before the clock was set, no more are known than a position remembers.
                    let of_clock = open.sent.partition_point(|number| *number < log.since_clock);
                    let from = open.sent.len().saturating_sub(below(&mut source, REPEATS));
                    let from = from.max(of_clock.min(open.sent.len().saturating_sub(KNOWN)));
                    open.again = open.sent[from..].iter().rev().copied().collect();
                }
            }
            9 => {
                log.first = log.lines.len();
                open = open.filter(|open: &Open| open.next >= log.first);
            }
            _ => {
                log.first += below(&mut source, log.lines.len() - log.first + 1);
                // What a reader misses that lags so far behind, the engine tells nobody.
                open = open.filter(|open: &Open| open.next >= log.first);
            }
        }
    }
    log.latest += 2 * RACE;
    log.push(Time(log.latest), String::new());
    agent.read(&log, &mut None, usize::MAX);
    assert!(agent.taken.is_sorted_by(|a, b| a < b), "doubled, or out of order");
    let missing = (0..log.lines.len()).filter(|number| agent.taken.binary_search(number).is_err());
    let missing: Vec<_> = missing.collect();
    let is_there = |number: &&usize| **number >= log.first;
    assert_eq!(missing.iter().find(is_there), None, "missing, though the engine has it");
    // Before its first line an agent knows of none that could be missing.
    let is_silent = |number: &usize| agent.taken.first().is_some_and(|first| number > first);
    assert!(
        agent.gaps > 0 || !missing.iter().any(is_silent),
        "missing in silence: {missing:?}"
    );
    let saved = serde_json::to_vec(&agent.position).expect("a position can be saved");
    assert!(saved.len() < 4 * 1024, "a position of {} bytes", saved.len());
}

impl Log {
    fn grow(&mut self, source: &mut Unstructured<'_>) {
        let lines = if below(source, 16) == 15 {
            MANY
        } else {
            below(source, 40)
        };
        let step = [0, 1, 1_000, 50_000_000][below(source, 4)];
        let back = if coin(source) {
            below(source, RACE as usize) as i64
        } else {
            0
        };
        for number in 0..lines {
            self.latest += step;
            // Every third is of the writer that is held up.
            let time = Time(self.latest - if number % 3 == 2 { back } else { 0 });
            self.push(time, (number % 2).to_string());
        }
    }

    /// To a time at which it has not been. Gives the step.
    fn set_clock(&mut self, source: &mut Unstructured<'_>) -> i64 {
        let years = below(source, 9) as i64 - 4;
        let step = years * YEAR + self.lines.len() as i64 * SECOND;
        self.latest += step;
        self.since_clock = self.lines.len();
        step
    }

    fn push(&mut self, time: Time, mut text: String) {
        // On a clock that is coarser, nobody could tell a repeat from another line.
        let time = Time(time.0 + i64::from(time.0 % 1_000 == 0));
        if self.known.contains(&(time, text.clone())) {
            text = format!("unlike any other: {}", self.lines.len());
        }
        self.known.insert((time, text.clone()));
        self.lines.push((time, text));
    }

    fn open(&self, agent: &mut Agent) -> Open {
        let position = &agent.position;
        agent.recent.recall_all(position.remembered(), position.forgotten());
        let is_sure = !agent.doubts && agent.reach == Reach::END && !(self.is_podman && agent.is_unsure);
        let ends_now = !std::mem::take(&mut agent.is_checked) && !is_sure;
        agent.doubts = false;
        let asked = match position.since(agent.reach, Time(self.latest)) {
            Since::Tail { or_since, .. } if self.is_podman && !ends_now => Since::Time(or_since),
            asked => asked,
        };
        let (next, since) = match asked {
            Since::Beginning => (self.first, None),
            Since::Tail { records, .. } => (self.first.max(self.lines.len().saturating_sub(records as usize)), None),
            Since::Time(since) => (self.first, Some(since)),
        };
        let is_complete = asked == Since::Beginning;
        Open {
            next,
            since,
            is_complete,
            end: ends_now.then_some(self.lines.len()),
            replay: match agent.evidence.filter(|_| is_complete) {
                Some(evidence) => position.replay_of_rest(evidence),
                None => position.replay(asked),
            },
            sent: Vec::new(),
            again: Vec::new(),
        }
    }

    /// What a connection brings next, while there is something.
    fn next(&self, open: &mut Open) -> Option<usize> {
        // It repeats what it has sent as it goes on.
        if open.next < self.lines.len()
            && let Some(number) = open.again.pop()
        {
            return Some(number);
        }
        loop {
            let number = open.next;
            if open.end.is_some_and(|end| number >= end) {
                return None;
            }
            let (time, _) = self.lines.get(number)?;
            open.next += 1;
            if open.since.is_none_or(|since| *time >= since) {
                if !self.filters_all {
                    open.since = None;
                }
                open.sent.push(number);
                return Some(number);
            }
        }
    }
}

impl Agent {
    /// Takes so many lines of a connection, and opens one if there is none.
    fn read(&mut self, log: &Log, stream: &mut Option<Open>, lines: usize) {
        for _ in 0..lines {
            let mut open = stream.take().unwrap_or_else(|| log.open(self));
            let Some(number) = log.next(&mut open) else {
                if self.is_at_the_end(&mut open) {
                    self.is_unsure = self.position.is_ahead_of(Time(log.latest));
                    if open.end.is_some() {
                        self.reach = Reach::END;
                        self.evidence = None;
                        self.is_checked = true;
                        continue;
                    }
                    *stream = Some(open);
                    return;
                }
                self.ask_for_more(&open);
                continue;
            };
            let (time, text) = &log.lines[number];
            let line = Line {
                time: *time,
                stream: Stream::Stdout,
                bytes: text.as_bytes(),
                truncated: false,
                escaped: None,
            };
            let verdict = open.replay.as_mut().map_or(Verdict::New, |replay| replay.judge(&line));
            let has_passed_over = open.replay.as_ref().is_some_and(Replay::has_passed_over);
            if verdict == Verdict::NewAfterGap {
                if !open.is_complete || has_passed_over {
                    self.ask_for_more(&open);
                    continue;
                }
                let last = self.taken.last().copied();
                assert!(last < Some(log.first), "a gap, though line {last:?} is there");
                self.gaps += 1;
                self.evidence = None;
                if open.replay.as_ref().is_some_and(|replay| replay.matched() == 0) {
                    self.position.all_are_gone();
                }
            }
            if verdict != Verdict::Seen {
                if open.end.is_some() {
                    self.recent.note(&line);
                } else {
                    match self.recent.judge(&line) {
                        Recall::Repeat => {
                            *stream = Some(open);
                            continue;
                        }
                        Recall::Doubtful => {
                            self.doubts = true;
                            continue;
                        }
                        Recall::New => {}
                    }
                }
                if open.replay.as_ref().is_some_and(Replay::is_over) {
                    open.replay = None;
                }
                self.position.note(&line);
                self.taken.push(number);
            }
            *stream = Some(open);
        }
    }

    /// A connection has no more for now. Tells whether it can go on.
    fn is_at_the_end(&mut self, open: &mut Open) -> bool {
        let Some(replay) = &open.replay else { return true };
        if replay.has_caught_up() {
            return true;
        }
        if !replay.is_behind_evidence() {
            return false;
        }
        self.position.lose(replay);
        open.replay = None;
        self.gaps += 1;
        self.evidence = None;
        true
    }

    /// A connection falls short.
    fn ask_for_more(&mut self, open: &Open) {
        let matched = open.replay.as_ref().map_or(0, Replay::matched);
        self.evidence = (open.is_complete && self.evidence.is_none()).then_some(matched);
        self.reach = if self.evidence.is_some() {
            Reach::ALL
        } else {
            self.reach.farther()
        };
    }

    /// Ends it, and starts another on what it saved.
    fn restart(&mut self) {
        let saved = serde_json::to_string(&self.position).expect("a position can be saved");
        self.position = serde_json::from_str(&saved).expect("what was saved can be read");
        self.recent = Recent::default();
        self.reach = Reach::END;
        self.evidence = None;
        self.is_unsure = true;
        self.doubts = false;
        self.is_checked = false;
    }
}
