//! A kind of descriptor that only ever grows: a leak of what no register knows.
//!
//! How many are open goes up and down with the work; of a leak the *floor* rises. So time is cut into periods, and each
//! period has the lowest count that a scan saw in it. A kind is growing when [`PERIODS`] floors in a row each lie above
//! the one before, and the last lies above whatever was counted up to the first period's end: a return to an old height is
//! no growth, and neither is a step, however high. Slow leaks hide within a short period, so the same is looked at in
//! periods of one scan, two, four and so on ([`LENGTHS`]): whatever its rate, a leak is named when it has lost
//! one to two dozen descriptors.
//!
//! What the agent can account for is left out before: connections, which are held against the register one by one, and
//! the admin server's clients, of which there is a most.

use std::collections::VecDeque;
use std::time::Instant;

use crate::kernel::{Connection, Kind, Snapshot};

/// Floors in a row. Of counts that have nothing to do with each other, so many rise in a row once in 12! times.
const PERIODS: usize = 12;

/// The longest period is of 2¹² scans: at a scan each ten seconds half a day.
const LENGTHS: u32 = 13;

/// A kind that has only grown, and has not come back since.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growing {
    /// The kind of descriptor.
    pub kind: Kind,
    /// All that are open.
    pub open: u64,
    /// More than there were when it began.
    pub by: u64,
    /// When it began, to within a period.
    pub since: Instant,
}

impl Growing {
    /// Descriptors an hour, from its beginning to `now`.
    pub fn per_hour(&self, now: Instant) -> f64 {
        let hours = now.duration_since(self.since).as_secs_f64() / 3600.0;
        if hours > 0.0 { self.by as f64 / hours } else { 0.0 }
    }
}

/// How many of a kind there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub kind: Kind,
    pub open: u64,
    /// The part of it that nothing accounts for.
    pub unexplained: u64,
}

/// What a snapshot says of each kind. `clients` is the most that the agent accepts by itself.
pub(super) fn counts(snapshot: &Snapshot, clients: u64) -> impl Iterator<Item = Count> {
    // Connections for which there is no room are in the count of descriptors alone.
    let incomplete = snapshot
        .maps
        .iter()
        .any(|map| map.map == "connections" && map.entries >= map.capacity);
    snapshot.fds.iter().map(move |totals| {
        let kind = totals.kind;
        let of_kind = |connection: &&Connection| connection.kind == kind;
        let descriptors = |connection: &Connection| u64::from(connection.descriptors);
        let connections: u64 = snapshot.connections.iter().filter(of_kind).map(descriptors).sum();
        let explained = match kind {
            Kind::Unix | Kind::Tcp if incomplete => totals.open,
            Kind::Tcp => connections + clients,
            _ => connections,
        };
        Count {
            kind,
            open: totals.open,
            unexplained: totals.open.saturating_sub(explained),
        }
    })
}

/// Watches every kind, scan by scan.
#[derive(Debug)]
pub(super) struct Growth(Vec<Track>);

/// One kind.
#[derive(Debug)]
struct Track {
    kind: Kind,
    levels: Vec<Level>,
    /// Where it began to grow: the count, and when.
    grown_from: Option<(u64, Instant)>,
}

/// One kind in periods of one length.
#[derive(Debug)]
struct Level {
    /// In scans.
    length: u32,
    scans: u32,
    present: Option<Period>,
    past: VecDeque<Period>,
    /// The most that was counted before the oldest of `past`.
    peak: u64,
}

#[derive(Clone, Copy, Debug)]
struct Period {
    began: Instant,
    lowest: u64,
    highest: u64,
}

impl Growth {
    pub(super) fn new() -> Self {
        Self(Kind::ALL.into_iter().map(Track::new).collect())
    }

    /// All kinds that are growing; `newly` is told of each that was not at the last scan.
    pub(super) fn scan(
        &mut self,
        counts: impl Iterator<Item = Count>,
        now: Instant,
        mut newly: impl FnMut(&Growing),
    ) -> Vec<Growing> {
        let mut growing = Vec::new();
        for count in counts {
            let Some(track) = self.0.iter_mut().find(|track| track.kind == count.kind) else {
                continue;
            };
            let was_known = track.grown_from.is_some();
            let Some((from, since)) = track.see(count.unexplained, now) else {
                continue;
            };
            let one = Growing {
                kind: count.kind,
                open: count.open,
                by: count.unexplained.saturating_sub(from),
                since,
            };
            if !was_known {
                newly(&one);
            }
            growing.push(one);
        }
        growing
    }
}

impl Track {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            levels: (0..LENGTHS).map(|power| Level::new(1 << power)).collect(),
            grown_from: None,
        }
    }

    /// Once it has grown it counts as growing until all that came is gone, also while it stands still: that is held still.
    fn see(&mut self, count: u64, now: Instant) -> Option<(u64, Instant)> {
        if let Some((from, _)) = self.grown_from {
            if count <= from {
                *self = Self::new(self.kind);
            }
            return self.grown_from;
        }
        for level in &mut self.levels {
            if let Some(first) = level.see(count, now) {
                self.grown_from = Some((first.lowest, first.began));
                break;
            }
        }
        self.grown_from
    }
}

impl Level {
    fn new(length: u32) -> Self {
        Self {
            length,
            scans: 0,
            present: None,
            past: VecDeque::with_capacity(PERIODS + 1),
            peak: 0,
        }
    }

    /// The first period, if it has only grown since.
    fn see(&mut self, count: u64, now: Instant) -> Option<Period> {
        let present = self.present.get_or_insert(Period {
            began: now,
            lowest: count,
            highest: count,
        });
        present.lowest = present.lowest.min(count);
        present.highest = present.highest.max(count);
        self.scans += 1;
        if self.scans < self.length {
            return None;
        }
        self.scans = 0;
        self.past.extend(self.present.take());
        if self.past.len() > PERIODS {
            let gone = self.past.pop_front()?;
            self.peak = self.peak.max(gone.highest);
        }
        let (first, last) = (*self.past.front()?, *self.past.back()?);
        let rises = self.past.len() == PERIODS
            && self
                .past
                .iter()
                .zip(self.past.iter().skip(1))
                .all(|(a, b)| a.lowest < b.lowest)
            && last.lowest > self.peak.max(first.highest);
        rises.then_some(first)
    }
}

#[cfg(test)]
mod tests;
