//! The task of a sink that sends to a store: batch by batch, one request at a time.
//!
//! A batch is acknowledged when each of its records is stored, or is one that the store will never take, and is kept as a dead
//! letter. Until then it stays in the sink's window or goes to its spool, of which the engine's files and the saved positions are
//! the rest: nothing is dropped because a store is away.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::super::account::Outcome;
use super::super::batch::Records;
use super::super::dead::{DeadLetters, Replay, Replayed};
use super::super::metrics::Metrics;
use super::super::spool::Supply;
use super::super::window::{Next, Order};
use super::attempt::{Answer, Attempts};
use super::credentials::Credentials;
use super::parts::Parts;
use super::verdict::Bad;
use super::{Protocol, Request};
use crate::engine::Store;
use crate::readiness::Part;
use crate::record::Time;

/// A batch of fewer bytes waits until so long after the last one: a store that is quick would get a request for each line.
const SMALL: usize = 64 * 1024;
const PACE: Duration = Duration::from_millis(100);
/// So many single records in a row may be refused by a store that does not say why, before it is taken for one that refuses
/// everything.
const IN_A_ROW: usize = 16;
/// How often it is told that records are refused.
const TELL: Duration = Duration::from_secs(60);

/// Carries one sink's batches to its store.
pub struct Courier {
    sink: String,
    protocol: Box<dyn Protocol>,
    attempts: Attempts,
    supply: Supply,
    metrics: Metrics,
    parts: Parts,
    /// When the last batch was begun.
    last: Option<Instant>,
    /// The store has stored something since it last refused everything.
    is_trusted: bool,
    /// Single records that were refused without a reason, since something was stored.
    in_a_row: usize,
    told: Option<Instant>,
    /// Where refused records are kept. Without it they are dropped.
    dead: Option<DeadLetters>,
    /// Dead letters that are to be sent again.
    replays: mpsc::Receiver<Replay>,
    replaying: VecDeque<Replay>,
    /// What has come of a file of dead letters, while it is sent again.
    again: Option<Again>,
}

#[derive(Default)]
struct Again {
    replayed: Replayed,
    /// A record was refused again, and could not be kept in another file.
    is_needed: bool,
}

impl Courier {
    /// For the sink of that supply.
    pub fn new(
        store: Store,
        credentials: Credentials,
        protocol: Box<dyn Protocol>,
        supply: Supply,
        metrics: &Metrics,
        part: Part,
        dead: Option<DeadLetters>,
    ) -> Self {
        let sink = supply.name().to_owned();
        // Without dead letters nothing ever comes.
        let replays = dead.as_ref().map(|dead| dead.register(&sink));
        Self {
            attempts: Attempts::new(&sink, store, credentials, metrics.clone(), part),
            protocol,
            supply,
            metrics: metrics.clone(),
            parts: Parts::default(),
            last: None,
            is_trusted: false,
            in_a_row: 0,
            told: None,
            dead,
            replays: replays.unwrap_or_else(|| mpsc::channel(1).1),
            replaying: VecDeque::new(),
            again: None,
            sink,
        }
    }

    /// Carries until nothing more comes.
    pub async fn run(mut self) {
        loop {
            match self.supply.take().await {
                Next::Order(order) => self.carry_out(order).await,
                Next::End => return,
                Next::Nothing if self.replaying.is_empty() => {
                    tokio::select! {
                        () = self.attempts.meanwhile(self.supply.bell()) => {}
                        Some(replay) = self.replays.recv() => self.replaying.push_back(replay),
                    }
                }
                Next::Nothing => {}
            }
            // Dead letters and new lines in turn: neither hold up the others for long.
            self.replaying
                .extend(std::iter::from_fn(|| self.replays.try_recv().ok()));
            if !self.replaying.is_empty() {
                self.send_again().await;
            }
        }
    }

    async fn carry_out(&mut self, order: Order) {
        match order {
            Order::Batch(batch) => {
                self.wait(batch.records().text().len()).await;
                let dropped = self.supply.dropped();
                tokio::select! {
                    biased;
                    () = self.carry(batch.records()) => self.supply.acknowledge(batch).await,
                    // Its room was needed: the next one comes.
                    () = dropped => {}
                }
            }
            Order::Mark(ticket) => self.supply.tell(ticket).await,
            // There is no file.
            Order::Reopen => {}
        }
    }

    async fn wait(&mut self, bytes: usize) {
        if let Some(last) = self.last.filter(|_| bytes < SMALL) {
            self.attempts.meanwhile(sleep_until(last + PACE)).await;
        }
        self.last = Some(Instant::now());
    }

    /// Until every record is settled.
    async fn carry(&mut self, records: &Records) {
        self.protocol.begin(records);
        self.parts.begin(records.len());
        // The store may have the records before this one already.
        let mut seen = 0;
        while let Some(range) = self.parts.next() {
            let request = self.protocol.request(records, range.clone(), &self.parts);
            self.parts.add(request.range.end..range.end);
            if request.records == 0 {
                continue;
            }
            match self.attempts.settle(&*self.protocol, &request).await {
                Answer::Stored { again, rejected } => {
                    self.stored(records, &request, rejected).await;
                    if again || request.range.start < seen {
                        let redelivered = &self.metrics.network.redelivered;
                        let redelivered = redelivered.with_label_values(&[&self.sink]);
                        redelivered.inc_by(request.records as u64);
                    }
                }
                Answer::Split if request.records > 1 => self.parts.halve(request.range),
                Answer::Split => self.refuse_one(records, request.range, "too_large").await,
                Answer::Bad(bad) => {
                    seen = seen.max(request.range.end);
                    self.sort_out(records, request, bad).await;
                }
            }
        }
    }

    async fn stored(&mut self, records: &Records, request: &Request, rejected: u64) {
        self.is_trusted = true;
        self.in_a_row = 0;
        self.metrics
            .network
            .cut
            .with_label_values(&[&self.sink])
            .inc_by(request.cut);
        let rejected = request.records.min(rejected as usize);
        let stored = request.records - rejected;
        if let Some(again) = &mut self.again {
            // Which ones were rejected is not known: none of them is let go.
            if rejected == 0 {
                again.replayed.stored += stored;
            } else {
                self.refuse(records, request.range.clone(), "rejected").await;
            }
            return;
        }
        let delivered = self.metrics.delivered.with_label_values(&[&self.sink]);
        delivered.inc_by(stored as u64);
        // Which ones were rejected is not known, so the account takes them for the last ones.
        let numbers = request.range.clone().filter(|&number| !self.parts.is_refused(number));
        self.supply
            .settled(records, numbers.clone().take(stored), Outcome::Delivered);
        let last: Vec<usize> = numbers.skip(stored).collect();
        // For the same reason none of them can be kept.
        self.count_refused(records, &last, "rejected", false);
    }

    /// Finds the records of a request that the store will never take: by what it says, or by halves.
    async fn sort_out(&mut self, records: &Records, request: Request, bad: Bad) {
        let range = request.range.clone();
        let found = match bad {
            Bad::Older(oldest, reason) => self.refuse_older(records, range.clone(), oldest, reason).await,
            Bad::OlderInStream(oldest, reason) if is_of_one(records, range.clone()) => {
                self.refuse_older(records, range.clone(), oldest, reason).await
            }
            _ => 0,
        };
        match bad {
            // The others are sent once more: the answer may not have named all that it refused.
            _ if found > 0 => self.parts.add(range),
            _ if request.records > 1 => self.parts.halve(range),
            Bad::Older(_, reason) | Bad::OlderInStream(_, reason) | Bad::Some(reason) => {
                self.refuse_one(records, range, reason).await;
            }
            Bad::Unclear => self.refuse_unclear(records, range).await,
        }
    }

    /// Whoever answers may not even be the store. One that takes other records has something against this one.
    async fn refuse_unclear(&mut self, records: &Records, range: Range<usize>) {
        self.in_a_row += 1;
        let is_known = self.again.is_some() || self.is_trusted && self.in_a_row <= IN_A_ROW;
        if is_known {
            self.refuse_one(records, range, "refused").await;
        } else if !self.parts.is_empty() && self.in_a_row <= IN_A_ROW {
            self.parts.add_last(range);
        } else {
            self.is_trusted = false;
            self.attempts.hold("refused").await;
            self.parts.add(range);
        }
    }

    async fn refuse_older(
        &mut self,
        records: &Records,
        range: Range<usize>,
        oldest: Time,
        reason: &'static str,
    ) -> usize {
        let numbered = range.clone().zip(records.range(range));
        let older = numbered.filter(|(_, record)| record.time < oldest);
        let numbers: Vec<usize> = older.map(|(number, _)| number).collect();
        self.refuse(records, numbers, reason).await
    }

    /// Refuses a range of which one record is left.
    async fn refuse_one(&mut self, records: &Records, range: Range<usize>, reason: &'static str) {
        self.refuse(records, range, reason).await;
    }

    /// The store will never take these records. Tells how many of them that is new of.
    async fn refuse(
        &mut self,
        records: &Records,
        numbers: impl IntoIterator<Item = usize>,
        reason: &'static str,
    ) -> usize {
        let new = numbers.into_iter().filter(|&number| self.parts.refuse(number));
        let numbers: Vec<usize> = new.collect();
        if numbers.is_empty() {
            return 0;
        }
        let is_kept = self.keep(records, &numbers, reason).await;
        if let Some(again) = &mut self.again {
            again.replayed.refused += numbers.len();
            again.is_needed |= !is_kept;
        } else {
            self.count_refused(records, &numbers, reason, is_kept);
        }
        numbers.len()
    }

    /// Keeps records as dead letters. Tells whether they are safe.
    async fn keep(&self, records: &Records, numbers: &[usize], reason: &'static str) -> bool {
        let Some(dead) = &self.dead else { return false };
        let refusal = (&*self.sink, reason, self.attempts.said());
        let kept = dead.keep(refusal, records, numbers, self.again.is_some()).await;
        kept.unwrap_or_else(|error| {
            warn!(sink = self.sink, %error, "cannot write dead letters");
            false
        })
    }

    fn count_refused(&mut self, batch: &Records, numbers: &[usize], reason: &'static str, is_kept: bool) {
        let records = numbers.len();
        if records == 0 {
            return;
        }
        let outcome = if is_kept { Outcome::Dead } else { Outcome::Dropped };
        let counted = if is_kept {
            &self.metrics.dead
        } else {
            &self.metrics.dropped
        };
        let counted = counted.with_label_values(&[&*self.sink, reason]);
        counted.inc_by(records as u64);
        self.supply.settled(batch, numbers.iter().copied(), outcome);
        if self.told.is_none_or(|told| told.elapsed() > TELL) {
            self.told = Some(Instant::now());
            let (sink, said) = (&self.sink, self.attempts.said());
            if is_kept {
                warn!(
                    sink,
                    records,
                    reason,
                    "the store will never take these records, and they are kept as dead letters; dead_letters_total counts \
                     on: {said}"
                );
            } else {
                warn!(
                    sink,
                    records,
                    reason,
                    "the store will never take these records, and they are dropped; lines_dropped_total counts on: {said}"
                );
            }
        }
    }

    /// Sends one file of dead letters again. It is removed when each of its records is stored, or is in another file. One with
    /// letters that cannot be read is kept aside.
    async fn send_again(&mut self) {
        let (Some(dead), Some(replay)) = (self.dead.clone(), self.replaying.front_mut()) else {
            return;
        };
        let Some(held) = replay.files.pop_front() else {
            if let Some(replay) = self.replaying.pop_front() {
                // Whoever waited may have gone.
                let _ = replay.done.send(replay.so_far);
            }
            return;
        };
        let (records, damaged) = match dead.records(held.clone()).await {
            Ok(records) => records,
            Err(error) => {
                warn!(sink = self.sink, %error, "cannot read dead letters");
                return;
            }
        };
        self.again = Some(Again::default());
        self.carry(&records).await;
        let again = self.again.take().unwrap_or_default();
        if let Some(replay) = self.replaying.front_mut() {
            replay.so_far.stored += again.replayed.stored;
            replay.so_far.refused += again.replayed.refused;
        }
        if again.is_needed {
            return;
        }
        let gone = if damaged == 0 {
            dead.remove(held).await
        } else {
            warn!(
                sink = self.sink,
                letters = damaged,
                "dead letters are damaged and cannot be sent again: the last such file is kept in `dead-letters/damaged`"
            );
            dead.set_aside(held).await
        };
        if let Err(error) = gone {
            warn!(sink = self.sink, %error, "cannot remove dead letters that were delivered");
        }
    }
}

/// Whether all records are of one container.
fn is_of_one(records: &Records, range: Range<usize>) -> bool {
    let mut containers = records.range(range).map(|record| record.container);
    let first = containers.next();
    containers.all(|container| first.is_some_and(|first| std::sync::Arc::ptr_eq(first, container)))
}

#[cfg(test)]
mod tests;
