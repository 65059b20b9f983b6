//! The end of whoever delivers a sink's batches: from the spool first, then from memory.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::super::account::Outcome;
use super::super::batch::{Batch, Records};
use super::super::intake::Intake;
use super::super::window::{Next, Order, Ticket};
use super::backlog::{Backlog, Carried, Read};

/// A spool that cannot be read is tried again after this.
const PAUSE: Duration = Duration::from_secs(1);

/// An intake, and the spool before it.
pub struct Supply {
    intake: Intake,
    backlog: Option<Arc<Backlog>>,
    dropped: Option<watch::Receiver<()>>,
}

impl Supply {
    pub(super) fn new(intake: Intake, backlog: Option<Arc<Backlog>>) -> Self {
        Self {
            intake,
            dropped: backlog.as_ref().map(|backlog| backlog.dropped.subscribe()),
            backlog,
        }
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        self.intake.name()
    }

    /// Whether what the sink does not take is spooled.
    pub fn is_spooled(&self) -> bool {
        self.backlog.is_some()
    }

    /// Waits until there may be something to be done.
    pub async fn bell(&self) {
        self.intake.desk().bell.notified().await;
    }

    /// What is to be done now. A batch that was not acknowledged comes again, or is dropped by now. What is taken from the spool
    /// would be lost if this were not polled to its end.
    pub(in super::super) async fn take(&mut self) -> Next {
        let Some(backlog) = &self.backlog else {
            return self.intake.desk().window().next();
        };
        let desk = self.intake.desk();
        loop {
            let mut turn = backlog.turn.lock().await;
            turn.carried = None;
            if let Some(dropped) = &mut self.dropped {
                dropped.mark_unchanged();
            }
            let is_unread = match backlog.read().await {
                Read::Batch(batch) => {
                    turn.carried = Some(Carried::Spooled);
                    return Next::Order(Order::Batch(batch));
                }
                Read::Nothing => false,
                Read::Failed => true,
            };
            if is_unread {
                drop(turn);
                sleep(PAUSE).await;
                continue;
            }
            let next = match turn.pending.pop_front() {
                Some(batch) => Next::Order(Order::Batch(batch)),
                None => {
                    // Its own statement: what follows locks the window again.
                    let next = desk.window().next();
                    match next {
                        Next::Order(Order::Batch(batch)) => {
                            Next::Order(Order::Batch(backlog.admit(&mut turn.had, batch)))
                        }
                        other => other,
                    }
                }
            };
            match next {
                Next::Order(Order::Batch(batch)) if batch.records().is_empty() => self.intake.acknowledge(batch),
                Next::Order(Order::Batch(batch)) => {
                    turn.carried = Some(Carried::Memory(Arc::clone(&batch)));
                    return Next::Order(Order::Batch(batch));
                }
                other => return other,
            }
        }
    }

    /// The sink has delivered this batch, which came last.
    pub async fn acknowledge(&mut self, batch: Arc<Batch>) {
        let Some(backlog) = &self.backlog else {
            return self.intake.acknowledge(batch);
        };
        let mut turn = backlog.turn.lock().await;
        match turn.carried.take() {
            Some(Carried::Memory(same)) => {
                drop(same);
                self.intake.acknowledge(batch);
            }
            Some(Carried::Spooled) => {
                let records = batch.records().len();
                drop(batch);
                backlog.done(records).await;
            }
            None => {}
        }
    }

    /// This has become of the records of these numbers, and is counted.
    pub fn settled(&self, batch: &Records, numbers: impl IntoIterator<Item = usize>, outcome: Outcome) {
        self.intake.settled(batch, numbers, outcome);
    }

    /// Answers [`Order::Mark`].
    pub async fn tell(&mut self, ticket: Ticket) {
        let mark = match &self.backlog {
            Some(backlog) => backlog.mark(&backlog.turn.lock().await.had),
            None => None,
        };
        self.intake.tell(ticket, mark);
    }

    /// Waits until the batch that came last is dropped, because there is no room for it any more.
    pub fn dropped(&self) -> impl Future<Output = ()> + use<> {
        let dropped = self.dropped.clone();
        async move {
            if let Some(mut dropped) = dropped
                && dropped.changed().await.is_ok()
            {
                return;
            }
            std::future::pending().await
        }
    }
}
