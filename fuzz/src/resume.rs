//! Resuming: a log that grows and loses its beginning, streams that are cut, and an agent that ends.

use std::collections::HashSet;

use arbitrary::Unstructured;
use log_capturer::capture::recent::Recent;
use log_capturer::capture::resume::{Position, Replay, Verdict};
use log_capturer::record::Since;
use log_capturer::record::{Line, Stream, Time};

use crate::{below, coin};

/// Two writers of one container are apart by less, when their lines race for the log.
const RACE: i64 = 100_000_000;
/// More lines than a reopen asks for.
const MANY: usize = 2_500;

/// What an engine holds. A line's number is its place since the beginning.
struct Log {
    lines: Vec<(Time, String)>,
    /// Those before are deleted.
    first: usize,
    latest: i64,
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
    replay: Option<Replay>,
    recent: Recent,
}

#[derive(Default)]
struct Agent {
    position: Position,
    taken: Vec<usize>,
    /// The latest time among them.
    latest: Option<Time>,
    /// Not taken, because they could as well have been taken before: the last line that was is deleted, and they are not
    /// later. The next later line tells of the gap.
    doubted: HashSet<usize>,
    gaps: usize,
    /// The end of the log was not enough.
    asks_by_time: bool,
}

/// Plays a log, its streams and its agents, and compares what was taken with what was written.
pub fn check(input: &[u8]) {
    let mut source = Unstructured::new(input);
    let mut log = Log {
        lines: Vec::new(),
        first: 0,
        latest: 1_795_187_098_000_000_000,
        known: HashSet::new(),
        filters_all: coin(&mut source),
        is_podman: coin(&mut source),
    };
    let mut agent = Agent::default();
    let mut open = None;
    while !source.is_empty() {
        match below(&mut source, 8) {
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
    let is_there = |number: &&usize| **number >= log.first && !agent.doubted.contains(*number);
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

    fn push(&mut self, time: Time, mut text: String) {
        if self.known.contains(&(time, text.clone())) {
            text = format!("unlike any other: {}", self.lines.len());
        }
        self.known.insert((time, text.clone()));
        self.lines.push((time, text));
    }

    fn open(&self, position: &Position, is_tail: bool) -> Open {
        let asked = position.since(is_tail);
        let (next, since) = match asked {
            Since::Beginning => (self.first, None),
            Since::Tail { or_since, .. } if self.is_podman => (self.first, Some(or_since)),
            Since::Tail { records, .. } => (self.first.max(self.lines.len().saturating_sub(records as usize)), None),
            Since::Time(since) => (self.first, Some(since)),
        };
        Open {
            next,
            since,
            replay: position.replay(asked),
            recent: Recent::default(),
        }
    }

    /// What a connection brings next, while there is something.
    fn next(&self, open: &mut Open) -> Option<usize> {
        loop {
            let number = open.next;
            let (time, _) = self.lines.get(number)?;
            open.next += 1;
            if open.since.is_none_or(|since| *time >= since) {
                if !self.filters_all {
                    open.since = None;
                }
                return Some(number);
            }
        }
    }
}

impl Agent {
    /// Takes so many lines of a connection, and opens one if there is none.
    fn read(&mut self, log: &Log, stream: &mut Option<Open>, lines: usize) {
        for _ in 0..lines {
            let open = stream.get_or_insert_with(|| log.open(&self.position, !self.asks_by_time));
            let Some(number) = log.next(open) else { return };
            let (time, text) = &log.lines[number];
            let line = Line {
                time: *time,
                stream: Stream::Stdout,
                bytes: text.as_bytes(),
                truncated: false,
            };
            let verdict = match &mut open.replay {
                Some(replay) => replay.judge(&line),
                None if open.recent.repeats(&line) => Verdict::Seen,
                None => Verdict::New,
            };
            let last = self.taken.last().copied();
            if verdict == Verdict::Seen {
                if last < Some(number) && last < Some(log.first) && Some(*time) <= self.latest {
                    self.doubted.insert(number);
                }
                continue;
            }
            if verdict == Verdict::NewAfterGap {
                if open.replay.as_ref().is_some_and(Replay::is_of_the_end) {
                    self.asks_by_time = true;
                    *stream = None;
                    continue;
                }
                assert!(last < Some(log.first), "a gap, though line {last:?} is there");
                self.gaps += 1;
            }
            if open.replay.as_ref().is_some_and(Replay::is_over) {
                open.replay = None;
            }
            self.asks_by_time = false;
            self.position.note(&line);
            self.taken.push(number);
            self.latest = self.latest.max(Some(*time));
        }
    }

    /// Ends it, and starts another on what it saved.
    fn restart(&mut self) {
        let saved = serde_json::to_string(&self.position).expect("a position can be saved");
        self.position = serde_json::from_str(&saved).expect("what was saved can be read");
        self.asks_by_time = false;
    }
}
