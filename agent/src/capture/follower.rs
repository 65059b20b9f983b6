//! One container, from its first line to its removal.
//!
//! ```text
//!            start event, or listed as running
//!                        │
//!            ┌───────────▼──────────┐   no slot free
//!   ┌───────►│ waits for a slot     │◄───────────┐
//!   │        └───────────┬──────────┘            │
//!   │ start  ┌───────────▼──────────┐  cut, or   │ after a growing
//!   │        │ reads (and rotates)  ├────────────┘ pause
//!   │        └───────────┬──────────┘  ended while it runs
//!   │                    │ ended, and the container has died
//!   │        ┌───────────▼──────────┐
//!   └────────┤ rests; keeps its     │ destroy event, or 404
//!            │ position             ├─────────────────────► gone
//!            └──────────────────────┘
//! ```

use std::future::pending;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::captured::Captured;
use super::metrics::Series;
use super::slots::{Slot, TURN};
use super::{Context, Life};
use crate::delivery::Tail;
use crate::engine::{DecodeError, EngineError, LogStream, Progress, Until};
use crate::record::{Container, Line};
use crate::register::{Inode, Site};

/// How long an old connection is kept for the new one to catch up with it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// How long the end of a dead container's log may stay away.
const REST: Duration = Duration::from_secs(30);
/// How often the lag of a container that waits for a slot is shown anew.
const LAG_SHOWN: Duration = Duration::from_secs(1);
/// How long the series of a removed container stay when one of them tells of a gap.
const GAP_SHOWN: Duration = Duration::from_secs(120);

/// Reads one container's log.
pub struct Follower {
    context: Arc<Context>,
    life: watch::Receiver<Life>,
    container: Arc<Container>,
    captured: Captured,
    backoff: backon::ExponentialBackoff,
    /// What was last said of a failure, so that it is said once.
    complained: Option<String>,
    /// The start up to which the log was read to its end.
    whole: Option<u64>,
}

/// Why a stretch of reading has ended.
enum End {
    /// Everything was read, and the container has died.
    Died,
    /// The container, or its log, is not there any more.
    Gone,
    /// The engine cannot read this container's log driver, and never will.
    Unreadable,
    /// To be tried again.
    Failed(EngineError),
    /// Its turn is over, and another container waits for the slot.
    GaveUpSlot,
    /// Only the end of the log was asked for, and it was not enough.
    FellShort,
    /// The engine ended the stream, but the container runs: it is restarting, or its log
    /// file has a record that cannot be decoded.
    EndedEarly,
}

/// A rotation under way: a second connection on its way to take over.
type Opening = Pin<Box<dyn Future<Output = Result<(OwnedSemaphorePermit, LogStream), EngineError>> + Send>>;

/// The old connection, kept until the new one has caught up.
struct Retiring {
    stream: LogStream,
    _spare: OwnedSemaphorePermit,
}

impl Follower {
    pub fn new(context: Arc<Context>, life: watch::Receiver<Life>) -> Self {
        let container = Arc::clone(&life.borrow().container);
        let captured = Captured::new(&context, &container);
        Self {
            backoff: context.backoff(),
            context,
            life,
            container,
            captured,
            complained: None,
            whole: None,
        }
    }

    /// Runs until the container is removed.
    pub async fn run(mut self) {
        self.publish();
        let mut read_to = 0;
        loop {
            let Some(started) = self.next_start(read_to).await else {
                self.context.positions.forget(&self.container.id);
                if self.captured.series.has_gap() {
                    // To be scraped at least once.
                    sleep(GAP_SHOWN).await;
                }
                return;
            };
            let slot = self.slot().await;
            let end = self.read().await;
            drop(slot);
            match end {
                End::Died => {
                    self.recovered();
                    read_to = started;
                }
                End::Gone => {
                    // It was started, and its log was not read to the end.
                    if self.whole != Some(started) {
                        warn!(
                            container = self.container.name,
                            "removed before its log was read: lines may be missing"
                        );
                        self.captured.series.gap();
                    }
                    self.context.positions.forget(&self.container.id);
                    read_to = started;
                }
                End::Unreadable => {
                    self.removed().await;
                    return;
                }
                End::GaveUpSlot | End::FellShort => {}
                End::EndedEarly => self.pause().await,
                End::Failed(error) => {
                    self.complain(&error);
                    self.pause().await;
                }
            }
        }
    }

    /// Waits for a start that has not been read to its end; `None` when none can come.
    async fn next_start(&mut self, read_to: u64) -> Option<u64> {
        loop {
            let (starts, removed) = {
                let life = self.life.borrow_and_update();
                (life.starts, life.removed)
            };
            self.rename();
            if starts != read_to {
                return Some(starts);
            }
            if removed || self.life.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Waits for a slot, and shows how far behind the container falls meanwhile.
    async fn slot(&self) -> Slot {
        let errors = &self.context.metrics.errors;
        let mut slot = pin!(
            self.context
                .slots
                .take(|| errors.with_label_values(&["pool_full"]).inc())
        );
        loop {
            match timeout(LAG_SHOWN, &mut slot).await {
                Ok(slot) => return slot,
                Err(_) => self.captured.show_lag(),
            }
        }
    }

    /// Opens the log and reads it for as long as it goes.
    async fn read(&mut self) -> End {
        let since = self.captured.since();
        let mut stream = match self
            .context
            .open(&self.container.id, Site::Follow, since, Until::Death)
            .await
        {
            Ok(stream) => stream,
            Err(error) => return self.not_opened(error),
        };
        self.captured.begin();
        let context = Arc::clone(&self.context);
        let mut opening: Option<Opening> = None;
        let mut retiring: Option<Retiring> = None;
        // When to rotate, or how long a rotation may take.
        let mut timer = pin!(sleep_until(context.rotate_at()));
        // When others may have the slot, once one of them waits.
        let turn = Instant::now() + TURN;
        let mut wanted = pin!(context.slots.wanted());
        let mut turn_over = pin!(sleep_until(turn));
        let mut is_wanted = context.slots.are_wanted();
        loop {
            if self.captured.has_caught_up()
                && let Some(old) = retiring.take()
            {
                self.retire(old);
                timer.as_mut().reset(context.rotate_at());
            }
            let captured = &mut self.captured;
            let mut take = |line: Line<'_>| captured.take(&line);
            tokio::select! {
                // Reading comes last: a busy stream is always ready.
                biased;
                () = &mut timer, if opening.is_none() => match retiring.take() {
                    Some(old) => {
                        self.retire(old);
                        timer.as_mut().reset(context.rotate_at());
                    }
                    None => opening = Some(self.open_another()),
                },
                opened = wait_for(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok((spare, new)) => {
                            self.captured.begin();
                            let stream = std::mem::replace(&mut stream, new);
                            retiring = Some(Retiring { stream, _spare: spare });
                            timer.as_mut().reset(Instant::now() + CATCH_UP);
                        }
                        Err(error) => {
                            // The old one goes on.
                            self.count("open_failed");
                            debug!(container = self.container.name, %error, "cannot rotate yet");
                            timer.as_mut().reset(context.rotate_at());
                        }
                    }
                }
                () = wanted.as_mut(), if !is_wanted => is_wanted = true,
                () = turn_over.as_mut(), if is_wanted => {
                    if context.slots.may_give_up() {
                        return End::GaveUpSlot;
                    }
                    is_wanted = false;
                    wanted.set(context.slots.wanted());
                }
                progress = stream.read(|cx| context.outbox.poll_room(cx), &mut take) => {
                    let lines = std::mem::take(&mut self.captured.lines);
                    let new = std::mem::take(&mut self.captured.new);
                    if std::mem::take(&mut self.captured.falls_short) {
                        self.captured.tail_only = false;
                        self.captured.replay = None;
                        let Some(old) = retiring.take() else {
                            return End::FellShort;
                        };
                        stream = old.stream;
                        timer.as_mut().reset(Instant::now());
                        continue;
                    }
                    let begun = self.captured.has_caught_up().then(|| stream.pending_since());
                    if begun.is_some_and(|begun| self.captured.position.set_begun(begun)) || new > 0 {
                        self.publish();
                    }
                    match (progress, retiring.take()) {
                        (Ok(Progress::Read(bytes)), old) => {
                            retiring = old;
                            context.pace.read(lines, bytes);
                            if new > 0 {
                                self.captured.show_lag();
                                self.captured.tail_only = true;
                                self.backoff = context.backoff();
                            }
                            if self.life.has_changed().unwrap_or(false) {
                                self.rename();
                            }
                            // Every other stream has its turn before this one's next.
                            tokio::task::yield_now().await;
                        }
                        (_, Some(old)) if self.captured.replay.take().is_some_and(|replay| !replay.is_live()) => {
                            // The new connection ended before it brought anything new: the
                            // old one still stands where the position does.
                            debug!(container = self.container.name, "rotation taken back");
                            stream = old.stream;
                            timer.as_mut().reset(context.rotate_at());
                        }
                        (Err(error), _) => return self.not_read(error),
                        (Ok(Progress::Ended), _) => return self.ended(&mut stream).await,
                    }
                }
            }
        }
    }

    /// Starts to open the connection that will take over.
    fn open_another(&self) -> Opening {
        let context = Arc::clone(&self.context);
        let id = self.container.id.clone();
        let since = self.captured.since();
        Box::pin(async move {
            let spare = context.slots.spare().await;
            let stream = context.open(&id, Site::Rotation, since, Until::Death).await?;
            Ok((spare, stream))
        })
    }

    /// Closes the old connection of a rotation, and asks the kernel whether it is gone.
    fn retire(&self, old: Retiring) {
        let age = old.stream.opened().elapsed();
        let inode: Inode = old.stream.inode();
        drop(old);
        let released = (self.context.is_released)(inode);
        if released == Some(false) {
            warn!(
                container = self.container.name,
                inode, "the kernel still holds a rotated connection"
            );
        }
        self.captured.series.rotated(released);
        self.context.metrics.stream_age.observe(age.as_secs_f64());
    }

    /// The engine has ended the stream.
    async fn ended(&mut self, stream: &mut LogStream) -> End {
        // At once: the end of the log comes before the event that says why, and of a container that was started with
        // `--rm` the engine removes the log right after it.
        let starts = self.life.borrow().starts;
        let rest = self.read_rest().await;
        if rest.is_ok() {
            self.whole = Some(starts);
        }
        let pause = self.next_pause();
        let is_over = timeout(pause, self.life.wait_for(|life| life.is_over())).await.is_ok();
        if !is_over {
            return End::EndedEarly;
        }
        let captured = &mut self.captured;
        let finished = match rest {
            Ok(mut rest) => rest.finish(&mut |line| captured.take_open(&line)),
            Err(error) if !matches!(error.status(), Some(404 | 409)) => return self.not_read(error),
            // Nothing was read, and nothing is there any more.
            Err(_) if captured.position.is_empty() => return End::Gone,
            // Where there is no more to read, what the stream itself still had is the end.
            Err(_) => {
                info!(
                    container = self.container.name,
                    "removed before its end could be read again: a last line without a line feed may be missing"
                );
                stream.finish(&mut |line| captured.take_open(&line))
            }
        };
        self.captured.position.set_begun(None);
        self.publish();
        match finished {
            Ok(()) => End::Died,
            Err(error) => self.not_read(error),
        }
    }

    /// Reads the log of a container whose stream has ended once more, from the last line on. Engine 20.10 often ends a
    /// follow without the last line, where that has no line feed. Such a line is still in what is returned.
    async fn read_rest(&mut self) -> Result<LogStream, EngineError> {
        let context = Arc::clone(&self.context);
        loop {
            let since = self.captured.since();
            let mut rest = context
                .open(&self.container.id, Site::Follow, since, Until::Now)
                .await?;
            self.captured.begin();
            loop {
                let captured = &mut self.captured;
                let mut take = |line: Line<'_>| captured.take(&line);
                let read = rest.read(|cx| context.outbox.poll_room(cx), &mut take);
                let progress = match timeout(REST, read).await {
                    Ok(progress) => progress,
                    Err(_) => Err(EngineError::Timeout {
                        step: "reading the end of the log",
                        limit: REST,
                    }),
                };
                self.publish();
                if progress? == Progress::Ended {
                    break;
                }
            }
            self.captured.tail_only = !std::mem::take(&mut self.captured.falls_short);
            if self.captured.tail_only {
                return Ok(rest);
            }
        }
    }

    /// Lets the position be saved. Before anything is awaited: what is handed over and what
    /// is published always belong together.
    fn publish(&self) {
        self.context
            .positions
            .publish(&self.container.id, &self.captured.position);
    }

    fn not_opened(&mut self, error: EngineError) -> End {
        self.count("open_failed");
        match error.status() {
            Some(404) => End::Gone,
            Some(501) => {
                warn!(
                    container = self.container.name, %error,
                    "this container's log driver cannot be read; left alone until it is recreated"
                );
                End::Unreadable
            }
            _ => End::Failed(error),
        }
    }

    fn not_read(&mut self, error: EngineError) -> End {
        self.count(match error {
            EngineError::Decode(DecodeError::Engine(_)) => "engine_error",
            EngineError::Decode(_) => "malformed",
            _ => "read_failed",
        });
        End::Failed(error)
    }

    fn count(&self, error_type: &str) {
        let errors = &self.context.metrics.errors;
        errors.with_label_values(&[error_type]).inc();
    }

    /// Waits before the next attempt: longer each time, but not when there is news.
    async fn pause(&mut self) {
        let pause = self.next_pause();
        let _ = timeout(pause, self.life.changed()).await;
    }

    fn next_pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.context.retry.max_delay)
    }

    /// Waits until the container is removed.
    async fn removed(&mut self) {
        let _ = self.life.wait_for(|life| life.removed).await;
    }

    /// Says what is wrong, once for each kind of trouble. That the engine is away is said
    /// once for all containers, elsewhere.
    fn complain(&mut self, error: &EngineError) {
        let text = error.to_string();
        if error.engine_is_away() || self.complained.as_ref() == Some(&text) {
            debug!(container = self.container.name, error = text, "log stream failed again");
            return;
        }
        warn!(
            container = self.container.name,
            error = text,
            "log stream failed; it is opened again"
        );
        self.complained = Some(text);
    }

    fn recovered(&mut self) {
        if self.complained.take().is_some() {
            info!(container = self.container.name, "log read to its end");
        }
    }

    /// Takes over a new name.
    fn rename(&mut self) {
        let now = Arc::clone(&self.life.borrow().container);
        if Arc::ptr_eq(&now, &self.container) {
            return;
        }
        self.captured.tail = Tail::new(&now, &self.context.host);
        if now.name != self.container.name {
            self.captured.series = Series::new(&now.name, &self.context.metrics);
        }
        self.container = now;
    }
}

async fn wait_for(opening: &mut Option<Opening>) -> <Opening as Future>::Output {
    match opening {
        Some(opening) => opening.await,
        None => pending().await,
    }
}
