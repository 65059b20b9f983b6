//! The task beside a sink's delivery: when the sink falls behind, it moves the sink's batches to the spool.
//!
//! As long as something is in the spool, what comes goes behind it. So the order stays, and the spool is delivered first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;
use tokio::time::{sleep_until, timeout_at};
use tracing::{info, warn};

use super::backlog::{Backlog, Carried, Turn};
use super::queue::Refused;
use crate::config::WhenFull;
use crate::delivery::batch::Batch;
use crate::delivery::window::Order;

/// Batches of which the room is kept while the spool is written to.
const SPARES: usize = 2;
/// A spool that is full is tried again after this at the latest.
const FULL: Duration = Duration::from_secs(1);
/// The first pause after the disk has failed; it doubles up to `LONGEST`.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(8);

/// Keeps what one sink does not take.
pub struct Keeper(Option<Keeping>);

struct Keeping {
    backlog: Arc<Backlog>,
    /// The disk takes nothing before this, and the pause that was made last.
    failed: Option<(Instant, Duration)>,
    /// It was told that what comes is not spooled.
    is_told: bool,
    /// Something was dropped since the spool was empty.
    is_dropping: bool,
}

/// What the keeper waits for, beside the bell.
enum Wait {
    Bell,
    Until(Instant),
    /// Nothing more comes, and all of it is safe.
    End,
}

impl Keeper {
    /// For a sink without a spool.
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(backlog: Arc<Backlog>) -> Self {
        Self(Some(Keeping {
            backlog,
            failed: None,
            is_told: false,
            is_dropping: false,
        }))
    }

    /// Ends when nothing more comes and everything is acknowledged or in the spool. Without a spool it does not end.
    pub async fn run(self) {
        let Some(mut keeping) = self.0 else {
            return std::future::pending().await;
        };
        let backlog = Arc::clone(&keeping.backlog);
        loop {
            let wait = {
                let mut turn = backlog.turn.lock().await;
                keeping.turn(&mut turn).await
            };
            let bell = backlog.desk().keeper.notified();
            match wait {
                Wait::Bell => bell.await,
                Wait::Until(at) if keeping.failed.is_some() => sleep_until(at.into()).await,
                Wait::Until(at) => drop(timeout_at(at.into(), bell).await),
                Wait::End => return,
            }
        }
    }
}

impl Keeping {
    async fn turn(&mut self, turn: &mut MutexGuard<'_, Turn>) -> Wait {
        let backlog = Arc::clone(&self.backlog);
        let desk = backlog.desk();
        loop {
            while let Some(order) = { desk.window().question() } {
                // There is no file to be opened anew.
                if let Order::Mark(ticket) = order {
                    let mark = backlog.mark(&turn.had);
                    desk.window().answer(ticket, mark);
                    backlog.shared.wake();
                    // What was given behind the question may be delivered now.
                    desk.bell.notify_one();
                }
            }
            if desk.window().is_over() {
                return Wait::End;
            }
            let patience = backlog.patience;
            let (age, stall) = match backlog.has_unread() {
                true => (patience.gather, Duration::ZERO),
                false => (patience.age, patience.stall),
            };
            match desk.window().behind_at(age, stall) {
                None => return Wait::Bell,
                Some(at) if at > Instant::now() => return Wait::Until(at),
                Some(_) => {}
            }
            let waiting = { desk.window().take_waiting() };
            for batch in waiting {
                let batch = backlog.admit(&mut turn.had, batch);
                turn.pending.push_back(batch);
            }
            if let Some(wait) = self.keep(turn).await {
                return wait;
            }
        }
    }

    /// Moves all that waits to the spool. `None`: it is worth looking again.
    async fn keep(&mut self, turn: &mut Turn) -> Option<Wait> {
        let carried = match &turn.carried {
            Some(Carried::Memory(batch)) => Some(Arc::clone(batch)),
            _ => None,
        };
        let is_lent = carried.is_some();
        let batches: Vec<Arc<Batch>> = carried.into_iter().chain(turn.pending.iter().cloned()).collect();
        if batches.is_empty() {
            return Some(Wait::Bell);
        }
        let is_first = !self.backlog.has_unread() && !matches!(turn.carried, Some(Carried::Spooled));
        let kept = self.backlog.keep(batches, is_lent).await;
        if is_first && kept.safe > 0 {
            warn!(
                sink = self.backlog.name(),
                "the sink has fallen behind: its lines go to its spool"
            );
        }
        self.spill(turn, kept.safe);
        match kept.refused {
            None => {
                self.is_dropping &= !is_first;
                self.failed = None;
                if self.is_dropping {
                    return None;
                }
                if std::mem::take(&mut self.is_told) {
                    info!(sink = self.backlog.name(), "the spool takes lines again");
                }
                self.backlog.part.up("in use");
                None
            }
            Some(Refused::Failed(error)) => {
                self.tell(&format!(
                    "the disk does not take it: {error}; reading stops when the batches are full"
                ));
                let pause = self.failed.map_or(FIRST, |(_, pause)| (2 * pause).min(LONGEST));
                let at = Instant::now() + pause;
                self.failed = Some((at, pause));
                Some(Wait::Until(at))
            }
            Some(Refused::Full) => {
                self.failed = None;
                self.make_room(turn).await
            }
        }
    }

    /// The first so many batches are safe.
    fn spill(&self, turn: &mut Turn, safe: usize) {
        let backlog = &self.backlog;
        for _ in 0..safe {
            let (batch, is_lent) = match turn.carried.take() {
                Some(Carried::Memory(batch)) => {
                    turn.carried = Some(Carried::Spooled);
                    (batch, true)
                }
                other => {
                    turn.carried = other;
                    let Some(batch) = turn.pending.pop_front() else { break };
                    (batch, false)
                }
            };
            let (number, records) = (batch.number(), batch.records().len());
            backlog.desk().window().account().spill(batch.records());
            // First: whoever sees room must not need more memory for it.
            drop(batch);
            backlog.desk().window().spill(number, records, is_lent);
        }
        if safe > 0 {
            // The window was full once, and is not while the spool takes everything.
            backlog.shared.spares.keep(SPARES);
            backlog.shared.wake();
            backlog.desk().bell.notify_one();
        }
    }

    async fn make_room(&mut self, turn: &mut Turn) -> Option<Wait> {
        let backlog = Arc::clone(&self.backlog);
        match backlog.when_full {
            WhenFull::Block => {}
            WhenFull::DropOldest => {
                let (records, named) = backlog.drop_oldest().await;
                if records > 0 {
                    self.tell("it is full: the oldest lines are dropped");
                    self.is_dropping = true;
                    backlog.drop_records(records, Some(&named), "spool_full");
                    if matches!(turn.carried, Some(Carried::Spooled)) {
                        turn.carried = None;
                        backlog.dropped.send_replace(());
                    }
                    return None;
                }
            }
            // A receipt is for all before it.
            WhenFull::DropNewest if matches!(turn.carried, Some(Carried::Memory(_))) => {}
            WhenFull::DropNewest => {
                if let Some(batch) = turn.pending.pop_front() {
                    self.tell("it is full: new lines are dropped");
                    self.is_dropping = true;
                    self.drop_batch(batch);
                    return None;
                }
            }
        }
        self.tell("it is full; reading stops when the batches are full");
        Some(Wait::Until(Instant::now() + FULL))
    }

    fn drop_batch(&self, batch: Arc<Batch>) {
        let backlog = &self.backlog;
        let (number, records) = (batch.number(), batch.records().len());
        backlog.desk().window().account().refuse(batch.records());
        drop(batch);
        let dropped = backlog
            .metrics
            .dropped
            .with_label_values(&[backlog.name(), "spool_full"]);
        dropped.inc_by(records as u64);
        backlog.tell_dropped(records as u64, "spool_full");
        backlog.desk().window().refuse(number, records);
        backlog.shared.wake();
    }

    /// Tells once why lines are not spooled, until they are.
    fn tell(&mut self, why: &str) {
        self.backlog.part.down(why);
        if !std::mem::replace(&mut self.is_told, true) {
            warn!(
                sink = self.backlog.name(),
                "the spool does not take the sink's lines: {why}"
            );
        }
    }
}
