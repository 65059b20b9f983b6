//! What a sink's supply and keeper share: whose turn it is, and the spool.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as Turns, watch};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use super::super::account::Named;
use super::super::batch::{Batch, Spares};
use super::super::had::Had;
use super::super::intake::Intake;
use super::super::metrics::Metrics;
use super::super::shared::{Desk, Shared};
use super::super::sink::Mark;
use super::cursor::Cursor;
use super::options::{Limits, Options, Patience};
use super::queue::{Lost, Refused, Spool};
use crate::config::WhenFull;
use crate::readiness::Part;
use crate::record::Time;

/// How often it is told that records are dropped.
const TELL: Duration = Duration::from_secs(60);

/// What is known of a sink from before.
#[derive(Default)]
pub struct Before {
    /// What it had behind the saved positions.
    pub had: Had,
    /// How many records its spool had got when they were saved.
    pub spooled: Option<u64>,
}

/// Shared by the two ends of one sink's batches.
pub(super) struct Backlog {
    pub(super) shared: Arc<Shared>,
    pub(super) sink: usize,
    pub(super) when_full: WhenFull,
    pub(super) patience: Patience,
    pub(super) metrics: Metrics,
    pub(super) part: Part,
    /// Each end does one thing at a time, and the other does nothing meanwhile.
    pub(super) turn: Turns<Turn>,
    /// Tells the supply that what it was lent is dropped.
    pub(super) dropped: watch::Sender<()>,
    /// The room of what comes from the spool is not used again: what the streams fill is enough.
    no_spares: Arc<Spares>,
    /// When it was last told that records are dropped.
    told: Mutex<Option<Instant>>,
    spool: Arc<Mutex<Place>>,
}

/// What changes from turn to turn.
#[derive(Default)]
pub(super) struct Turn {
    /// What is being delivered.
    pub(super) carried: Option<Carried>,
    /// What the sink has already, or its spool.
    pub(super) had: Had,
    /// Batches that were taken from the window to be spooled, and are not.
    pub(super) pending: VecDeque<Arc<Batch>>,
}

/// Where a batch that is being delivered is kept.
pub(super) enum Carried {
    Memory(Arc<Batch>),
    Spooled,
}

/// What the spool has for the sink.
pub(super) enum Read {
    Batch(Arc<Batch>),
    Nothing,
    Failed,
}

/// What became of batches that were to be spooled.
pub(super) struct Kept {
    /// So many are in the spool now.
    pub(super) safe: usize,
    /// Why the others are not.
    pub(super) refused: Option<Refused>,
}

/// The spool, or where it will be once the disk has room.
struct Place {
    path: PathBuf,
    limits: Limits,
    spool: Option<Spool>,
}

impl Place {
    fn spool(&mut self) -> io::Result<&mut Spool> {
        let spool = match self.spool.take() {
            Some(spool) => spool,
            None => Spool::open(&self.path, self.limits)?,
        };
        Ok(self.spool.insert(spool))
    }
}

impl Backlog {
    pub(super) fn open(
        intake: &Intake,
        before: Before,
        options: &Options,
        metrics: &Metrics,
        part: Part,
    ) -> io::Result<Arc<Self>> {
        let mut place = Place {
            path: options.folder.join(intake.name()),
            limits: options.limits,
            spool: None,
        };
        match place.spool() {
            Ok(_) => {}
            Err(error)
                if error.kind() == io::ErrorKind::StorageFull || error.kind() == io::ErrorKind::QuotaExceeded =>
            {
                warn!(sink = intake.name(), %error, "the spool cannot be opened yet");
            }
            Err(error) => {
                let path = place.path.display();
                return Err(io::Error::new(
                    error.kind(),
                    format!("cannot use the spool {path}: {error}"),
                ));
            }
        }
        let Before { mut had, spooled } = before;
        let has_lost = match (&place.spool, spooled) {
            (Some(spool), Some(spooled)) => spool.end() < spooled,
            _ => false,
        };
        if has_lost {
            warn!(
                sink = intake.name(),
                "the spool has lost lines that it had: they count as dropped in the account"
            );
        }
        if let (Some(spool), Some(spooled)) = (&mut place.spool, spooled) {
            // They are read from their logs once more.
            spool.look_back(spooled, |records| had.note_all(records))?;
        }
        part.up("empty");
        let (shared, sink) = intake.place();
        let backlog = Self {
            shared,
            sink,
            when_full: options.when_full,
            patience: options.patience,
            metrics: metrics.clone(),
            part,
            turn: Turns::new(Turn { had, ..Turn::default() }),
            dropped: watch::Sender::new(()),
            no_spares: Spares::new(0),
            told: Mutex::default(),
            spool: Arc::new(Mutex::new(place)),
        };
        let mut place = backlog.spool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(spool) = &mut place.spool {
            let records = spool.records();
            backlog.desk().window().inherit(records, has_lost);
            show(backlog.desk(), spool);
            if records > 0 {
                info!(sink = intake.name(), records, "goes on with what its spool has");
            }
        }
        drop(place);
        Ok(Arc::new(backlog))
    }

    pub(super) fn desk(&self) -> &Desk {
        self.shared.desk(self.sink)
    }

    pub(super) fn name(&self) -> &str {
        &self.desk().name
    }

    /// What of a batch the sink has not had yet. That can be nothing: a receipt is for all batches before it, too, so also this
    /// one is acknowledged in its turn.
    pub(super) fn admit(&self, had: &mut Had, batch: Arc<Batch>) -> Arc<Batch> {
        if had.is_empty() {
            return batch;
        }
        let new = had.without(batch.records());
        let skipped = batch.records().len() - new.len();
        if skipped == 0 {
            return batch;
        }
        self.desk().window().skip(&batch, &new);
        Arc::new(Batch::new(batch.number(), new, &self.no_spares))
    }

    /// What a checkpoint needs to know: what was spooled so far, and what is not to be delivered when it comes again.
    pub(super) fn mark(&self, had: &Had) -> Option<Mark> {
        Some(Mark {
            saved: self.desk().window().spooled().end.into(),
            had: had.saved().ok()?,
            written: None,
        })
    }

    /// Whether something waits in the spool that nobody was lent.
    pub(super) fn has_unread(&self) -> bool {
        self.desk().window().spooled().unread > 0
    }

    /// Lends what waits longest.
    pub(super) async fn read(&self) -> Read {
        if !self.has_unread() {
            return Read::Nothing;
        }
        let read = self.with(|spool| {
            let read = spool.read(Time::now());
            (read, spool.take_lost(), spool.take_aged())
        });
        let (read, lost, aged) = match read.await {
            Ok(read) => read,
            Err(error) => (Err(error), Lost::default(), Named::new()),
        };
        self.tell_lost(lost, &aged);
        match read {
            Ok(Some(records)) => {
                self.desk().window().lend();
                Read::Batch(Arc::new(Batch::new(0, records, &self.no_spares)))
            }
            Ok(None) => Read::Nothing,
            Err(error) => {
                let said = format!("cannot be read: {error}");
                warn!(sink = self.name(), "the spool {said}");
                self.part.down(&said);
                Read::Failed
            }
        }
    }

    /// What was lent, and has so many records, is delivered.
    pub(super) async fn done(&self, records: usize) {
        self.desk().window().leave_spool(records as u64);
        let done = self.with(Spool::done).await.and_then(|done| done);
        if let Err(error) = done {
            warn!(sink = self.name(), %error, "cannot save how far the spool is delivered: it is delivered again after a restart");
        }
        let spooled = self.desk().window().spooled();
        if spooled.records == 0 {
            info!(sink = self.name(), "the spool is empty");
            self.part.up("empty");
        }
        // There can be room now.
        self.desk().ring();
    }

    /// Adds these batches. `is_lent`: the first one is being delivered.
    pub(super) async fn keep(&self, batches: Vec<Arc<Batch>>, is_lent: bool) -> Kept {
        let kept = self.with(move |spool| {
            let mut added = Vec::new();
            let mut refused = None;
            for batch in &batches {
                if batch.records().is_empty() {
                    added.push(Cursor {
                        record: spool.end(),
                        ..Cursor::default()
                    });
                    continue;
                }
                match spool.append(batch.records(), Time::now()) {
                    Ok(end) => added.push(end),
                    Err(why) => {
                        refused = Some(why);
                        break;
                    }
                }
            }
            if let Err(error) = spool.commit() {
                refused = Some(Refused::Failed(error));
            }
            spool.rest();
            let end = spool.end();
            let safe = added.iter().filter(|added| added.record <= end).count();
            if let (true, 1.., Some(first)) = (is_lent, safe, added.first()) {
                spool.lend(*first);
            }
            Kept { safe, refused }
        });
        kept.await.unwrap_or_else(|error| Kept {
            safe: 0,
            refused: Some(Refused::Failed(error)),
        })
    }

    /// Drops the oldest segment. Tells how many records that were, and how many lines of each container.
    pub(super) async fn drop_oldest(&self) -> (u64, Named) {
        self.with(Spool::drop_oldest).await.unwrap_or_default()
    }

    fn tell_lost(&self, lost: Lost, aged: &Named) {
        let damaged = &self.metrics.spool.damaged;
        for (part, places) in [("segment", lost.places), ("cursor", lost.cursors)] {
            if places > 0 {
                damaged.inc_by(places);
                warn!(
                    sink = self.name(),
                    part, places, "the spool is damaged; what is sound of it is used"
                );
            }
        }
        self.drop_records(lost.records, None, "spool_damaged");
        self.drop_records(lost.aged, Some(aged), "spool_age");
    }

    /// So many records of the spool are lost to the sink. `named` tells whose lines they are, where that is known.
    pub(super) fn drop_records(&self, records: u64, named: Option<&Named>, reason: &'static str) {
        if records > 0 {
            let settled = self.desk().window().drop_spooled(records, named);
            let dropped = self.metrics.dropped.with_label_values(&[self.name(), reason]);
            dropped.inc_by(settled);
            self.tell_dropped(settled, reason);
        }
    }

    /// Tells that records were dropped, and not too often.
    pub(super) fn tell_dropped(&self, records: u64, reason: &'static str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() > TELL) {
            *told = Some(Instant::now());
            warn!(
                sink = self.name(),
                records, reason, "records of the sink are dropped; lines_dropped_total counts on"
            );
        }
    }

    /// Does something with the spool, in another thread, and shows the spool then.
    async fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Spool) -> T + Send + 'static) -> io::Result<T> {
        let (place, shared, sink) = (Arc::clone(&self.spool), Arc::clone(&self.shared), self.sink);
        let act = move || {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            let is_late = place.spool.is_none();
            let spool = place.spool()?;
            let desk = shared.desk(sink);
            if is_late {
                desk.window().inherit(spool.records(), false);
            }
            let done = act(spool);
            show(desk, spool);
            Ok(done)
        };
        let done = spawn_blocking(act).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }
}

fn show(desk: &Desk, spool: &mut Spool) {
    let (end, unread, bytes, oldest) = (spool.end(), spool.unread(), spool.bytes(), spool.oldest());
    desk.window().show_spool(end, unread, bytes, oldest);
}
