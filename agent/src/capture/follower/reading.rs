//! A stretch of reading: from an open stream to what ended it, with the rotations in between.

use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use super::super::captured::until;
use super::super::resume::Replay;
use super::super::silence::Silence;
use super::super::slots::TURN;
use super::{End, Follower};
use crate::record::{Line, Until};
use crate::register::{Inode, Site};
use crate::source::{Fault, Log, Progress, Stream};

/// How long an old connection is kept for the new one to catch up with it.
const CATCH_UP: Duration = Duration::from_secs(30);

/// Bytes that a stream may take before others have their turn. What a busy container writes during one rest of the thread
/// is less (`pace`): giving way costs another look at all sockets.
const TURN_BYTES: usize = 16 * 1024;

/// What a stretch of reading has brought.
#[derive(Default)]
pub(super) struct SoFar {
    reads: u64,
    /// Something new has come since the present stream was opened.
    any_new: bool,
}

/// A rotation under way: a second connection on its way to take over.
type Opening = Pin<Box<dyn Future<Output = Result<(OwnedSemaphorePermit, Stream), Fault>> + Send>>;

/// The old connection, kept until the new one has caught up.
struct Retiring {
    stream: Stream,
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
    pub(in crate::capture) async fn read(&mut self) -> End {
        let since = self.captured.since();
        // On the heap: a stream that is read holds nothing of its opening, or of its ending.
        let opened = Box::pin(
            self.context
                .source
                .open(&self.container.id, Site::Follow, since, Until::Death),
        )
        .await;
        let _reading = self.context.metrics.reads_from("api");
        let mut stream = match opened {
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
        let mut so_far = SoFar::default();
        loop {
            if self.captured.has_caught_up()
                && let Some(old) = retiring.take()
            {
                self.retire(old);
                timer.as_mut().reset(context.rotate_at());
            }
            let deadline = self.captured.deadline();
            tokio::select! {
                // Reading comes last: a busy stream is always ready.
                biased;
                () = &mut timer, if opening.is_none() => match retiring.take() {
                    Some(old) => {
                        self.retire(old);
                        timer.as_mut().reset(context.rotate_at());
                    }
                    None if !so_far.any_new && self.may_grow_old(&stream) => timer.as_mut().reset(context.rotate_at()),
                    None => opening = Some(self.open_another()),
                },
                opened = wait_for(&mut opening) => {
                    opening = None;
                    match opened {
                        Ok((spare, new)) => {
                            let replay = self.captured.begin();
                            silence.taken_over();
                            so_far.any_new = false;
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
                    let stalled = silence.judge(sign, so_far.reads, room, &self.captured.position);
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
                progress = poll_fn(|cx| self.poll_read(cx, &mut stream, &mut so_far, deadline, retiring.is_none())) => {
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
                    match (progress, retiring.take()) {
                        (Ok(Progress::Read(_)), old) => {
                            retiring = old;
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
                        (Ok(Progress::Ended), _) => return Box::pin(self.ended(&mut stream)).await,
                    }
                }
            }
        }
    }

    /// Takes what there is to read, and waits for more: a line costs one turn of the task. Ready when there is something to
    /// see to: the stream has ended, others are to have their turn, or a record of several lines is due at another time than
    /// `deadline`. Where it does not read `alone`, each read is one.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut impl Log,
        so_far: &mut SoFar,
        deadline: Option<Instant>,
        alone: bool,
    ) -> Poll<Result<Progress, Fault>> {
        let mut left = TURN_BYTES;
        loop {
            let growth = self.captured.tail.growth();
            let (captured, outbox) = (&mut self.captured, &self.context.outbox);
            let mut take = |line: Line<'_>| captured.take(&line);
            let progress = ready!(stream.poll_read(cx, |cx| outbox.poll_room_for(cx, growth), &mut take));
            self.note(stream, progress.as_ref().ok(), so_far);
            match progress {
                Ok(Progress::Read(bytes)) if alone && bytes < left && !self.captured.falls_short => left -= bytes,
                _ => return Poll::Ready(progress),
            }
            if self.captured.deadline() != deadline {
                return Poll::Ready(progress);
            }
        }
    }

    /// What a read brought is published, before anything is awaited.
    fn note<L: Log>(&mut self, stream: &L, progress: Option<&Progress>, so_far: &mut SoFar) {
        let lines = std::mem::take(&mut self.captured.lines);
        let new = std::mem::take(&mut self.captured.new);
        if self.captured.falls_short {
            return;
        }
        if let Some(mark) = stream.mark() {
            self.captured.passed(mark);
        }
        let begun = self.captured.has_caught_up().then(|| stream.pending_since());
        if begun.is_some_and(|begun| self.captured.position.set_begun(begun)) || new > 0 {
            self.publish();
        }
        let Some(&Progress::Read(bytes)) = progress else {
            return;
        };
        so_far.reads += 1;
        if L::HOLDS_UP {
            self.context.pace.read(lines, bytes);
        } else {
            self.context.pace.read(lines.min(1), 0);
        }
        if new > 0 {
            self.captured.show_lag();
            if !std::mem::replace(&mut so_far.any_new, true) {
                self.captured.tail_only = true;
                self.backoff = self.context.backoff();
            }
        }
        if self.life.has_changed().unwrap_or(false) {
            self.rename();
        }
    }

    /// Whether a rotation would be for nothing. Not so where the end of the log was not enough to go on from.
    fn may_grow_old(&self, stream: &Stream) -> bool {
        self.captured.tail_only && stream.opened().elapsed() < self.context.rotation.idle_interval
    }

    /// Starts to open the connection that will take over.
    fn open_another(&self) -> Opening {
        let context = Arc::clone(&self.context);
        let id = self.container.id.clone();
        let since = self.captured.since();
        Box::pin(async move {
            let spare = context.slots.spare().await;
            let stream = context.source.open(&id, Site::Rotation, since, Until::Death).await?;
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
