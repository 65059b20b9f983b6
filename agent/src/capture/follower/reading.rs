//! A stretch of reading: from an open stream to what ended it, with the rotations in between.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::super::captured::until;
use super::super::resume::Replay;
use super::super::silence::Silence;
use super::super::slots::TURN;
use super::{End, Follower};
use crate::engine::{EngineError, LogStream, Progress, Until};
use crate::record::Line;
use crate::register::{Inode, Site};

/// How long an old connection is kept for the new one to catch up with it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// A rotation under way: a second connection on its way to take over.
type Opening = Pin<Box<dyn Future<Output = Result<(OwnedSemaphorePermit, LogStream), EngineError>> + Send>>;

/// The old connection, kept until the new one has caught up.
struct Retiring {
    stream: LogStream,
    /// What it still had to repeat.
    replay: Option<Replay>,
    _spare: OwnedSemaphorePermit,
}

impl Retiring {
    fn has_caught_up(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::has_caught_up)
    }
}

impl Follower {
    /// Opens the log and reads it for as long as it goes.
    pub(super) async fn read(&mut self) -> End {
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
        let mut silence = Silence::new(&context, &self.container.id);
        let mut reads = 0;
        // Nothing new has come since the stream was opened.
        let mut idle = true;
        loop {
            if self.captured.has_caught_up()
                && let Some(old) = retiring.take()
            {
                self.retire(old);
                timer.as_mut().reset(context.rotate_at());
            }
            let deadline = self.captured.deadline();
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
                    None if idle && self.may_grow_old(&stream) => timer.as_mut().reset(context.rotate_at()),
                    None => opening = Some(self.open_another()),
                },
                opened = wait_for(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok((spare, new)) => {
                            let replay = self.captured.begin();
                            silence.taken_over();
                            idle = true;
                            let stream = std::mem::replace(&mut stream, new);
                            retiring = Some(Retiring { stream, replay, _spare: spare });
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
                sign = poll_fn(|cx| silence.poll(cx)) => {
                    let room = context.outbox.has_room();
                    let stalled = silence.judge(sign, reads, room, &self.captured.position);
                    if stalled && opening.is_none() && retiring.is_none() {
                        info!(container = self.container.name, "its stream is silent while it writes; opened again");
                        self.captured.series.stalled();
                        opening = Some(self.open_another());
                    }
                }
                () = until(deadline) => self.captured.flush_due(),
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
                        // One that still repeats what is known was asked for no more than this one.
                        let Some(old) = retiring.take().filter(Retiring::has_caught_up) else {
                            return End::FellShort;
                        };
                        self.captured.replay = old.replay;
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
                            reads += 1;
                            context.pace.read(lines, bytes);
                            if new > 0 {
                                idle = false;
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
                        (_, Some(old)) if self.captured.replay.as_ref().is_some_and(|replay| !replay.is_live()) => {
                            // The new connection ended before it brought anything new: the
                            // old one still stands where the position does.
                            debug!(container = self.container.name, "rotation taken back");
                            self.captured.replay = old.replay;
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

    /// Whether a rotation would be for nothing. Not so where the end of the log was not enough to go on from.
    fn may_grow_old(&self, stream: &LogStream) -> bool {
        self.captured.tail_only && stream.opened().elapsed() < self.context.rotation.idle_interval
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
}

async fn wait_for(opening: &mut Option<Opening>) -> <Opening as Future>::Output {
    match opening {
        Some(opening) => opening.await,
        None => pending().await,
    }
}
