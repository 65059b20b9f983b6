//! The task of a sink that sends to a store: batch by batch, one request at a time.
//!
//! A batch is acknowledged when each of its records is stored, or is one that the store will never take. Until then it stays in
//! the sink's window or goes to its spool, of which the engine's files and the saved positions are the rest: nothing is dropped
//! because a store is away.

use std::ops::Range;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::super::batch::{Batch, Records};
use super::super::metrics::Metrics;
use super::super::spool::Supply;
use super::super::window::Order;
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
/// How often it is told that records are dropped.
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
    ) -> Self {
        let sink = supply.name().to_owned();
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
            sink,
        }
    }

    /// Carries until nothing more comes.
    pub async fn run(mut self) {
        while let Some(order) = self.attempts.meanwhile(self.supply.next()).await {
            match order {
                Order::Batch(batch) => {
                    self.wait(batch.records().text().len()).await;
                    let dropped = self.supply.dropped();
                    tokio::select! {
                        biased;
                        () = self.carry(&batch) => self.supply.acknowledge(batch).await,
                        // Its room was needed: the next one comes.
                        () = dropped => {}
                    }
                }
                Order::Mark(ticket) => self.supply.tell(ticket).await,
                // There is no file.
                Order::Reopen => {}
            }
        }
    }

    async fn wait(&mut self, bytes: usize) {
        if let Some(last) = self.last.filter(|_| bytes < SMALL) {
            self.attempts.meanwhile(sleep_until(last + PACE)).await;
        }
        self.last = Some(Instant::now());
    }

    /// Until every record of the batch is settled.
    async fn carry(&mut self, batch: &Batch) {
        let records = batch.records();
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
                Answer::Stored { again } => {
                    self.stored(&request);
                    if again || request.range.start < seen {
                        let redelivered = &self.metrics.network.redelivered;
                        let redelivered = redelivered.with_label_values(&[&self.sink]);
                        redelivered.inc_by(request.records as u64);
                    }
                }
                Answer::Split if request.records > 1 => self.parts.halve(request.range),
                Answer::Split => self.refuse_one(request.range, "too_large"),
                Answer::Bad(bad) => {
                    seen = seen.max(request.range.end);
                    self.sort_out(records, request, bad).await;
                }
            }
        }
    }

    fn stored(&mut self, request: &Request) {
        self.is_trusted = true;
        self.in_a_row = 0;
        self.metrics
            .network
            .cut
            .with_label_values(&[&self.sink])
            .inc_by(request.cut);
        let delivered = self.metrics.delivered.with_label_values(&[&self.sink]);
        delivered.inc_by(request.records as u64);
        self.supply.settled(request.records);
    }

    /// Finds the records of a request that the store will never take: by what it says, or by halves.
    async fn sort_out(&mut self, records: &Records, request: Request, bad: Bad) {
        let range = request.range.clone();
        let found = match bad {
            Bad::Older(oldest, reason) => self.refuse_older(records, range.clone(), oldest, reason),
            Bad::OlderInStream(oldest, reason) if is_of_one(records, range.clone()) => {
                self.refuse_older(records, range.clone(), oldest, reason)
            }
            _ => 0,
        };
        match bad {
            // The others are sent once more: the answer may not have named all that it refused.
            _ if found > 0 => self.parts.add(range),
            _ if request.records > 1 => self.parts.halve(range),
            Bad::Older(_, reason) | Bad::OlderInStream(_, reason) | Bad::Some(reason) => self.refuse_one(range, reason),
            Bad::Unclear => self.refuse_unclear(range).await,
        }
    }

    /// Whoever answers may not even be the store. One that takes other records has something against this one.
    async fn refuse_unclear(&mut self, range: Range<usize>) {
        self.in_a_row += 1;
        if self.is_trusted && self.in_a_row <= IN_A_ROW {
            self.refuse_one(range, "refused");
        } else if !self.parts.is_empty() && self.in_a_row <= IN_A_ROW {
            self.parts.add_last(range);
        } else {
            self.is_trusted = false;
            self.attempts.hold("refused").await;
            self.parts.add(range);
        }
    }

    fn refuse_older(&mut self, records: &Records, range: Range<usize>, oldest: Time, reason: &'static str) -> usize {
        let mut found = 0;
        for (number, record) in range.clone().zip(records.range(range)) {
            if record.time < oldest && self.parts.refuse(number) {
                found += 1;
            }
        }
        self.dropped(found, reason);
        found
    }

    /// Of a range of which one record is left.
    fn refuse_one(&mut self, range: Range<usize>, reason: &'static str) {
        let found = range.into_iter().filter(|&number| self.parts.refuse(number)).count();
        self.dropped(found, reason);
    }

    fn dropped(&mut self, records: usize, reason: &'static str) {
        if records == 0 {
            return;
        }
        let dropped = self.metrics.dropped.with_label_values(&[&*self.sink, reason]);
        dropped.inc_by(records as u64);
        self.supply.settled(records);
        if self.told.is_none_or(|told| told.elapsed() > TELL) {
            self.told = Some(Instant::now());
            let said = self.attempts.said();
            warn!(
                sink = self.sink,
                records,
                reason,
                "the store will never take these records, and they are dropped; lines_dropped_total counts on: {said}"
            );
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
