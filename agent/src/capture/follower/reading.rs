//! A stretch of reading over connections: from the one that is opened first to what ended it. It owns the connections and
//! the timers, and obeys: `rotation` says which connection is read, `silence` whether it is stalled, and `slots` when
//! another container has its turn.

use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::super::captured::until;
use super::super::silence::{Sign, Silence, Stall};
use super::connections::{Opening, opened};
use super::rotation::{Action, Event, Rotation, Timer};
use super::taking::SoFar;
use super::{End, Follower};
use crate::record::Until;
use crate::register::Site;
use crate::source::{Fault, Progress, Stream};

/// How long an old connection is kept for the new one to catch up with it.
const CATCH_UP: Duration = Duration::from_secs(30);

impl Follower {
    /// Opens the log and reads it for as long as it goes.
    pub(in crate::capture) async fn read(&mut self) -> End {
        let since = self.captured.since();
        // On the heap: a stream that is read holds nothing of its opening, or of its ending.
        let opening = Box::pin(
            self.services
                .source
                .open(&self.container.id, Site::Follow, since, Until::Death),
        );
        let mut stream = match opening.await {
            Ok(stream) => stream,
            Err(fault) => return self.not_opened(fault),
        };
        self.captured.begin(since);
        let _reading = self.services.metrics.reads_from("api");
        let services = Arc::clone(&self.services);
        let mut rotation = Rotation::default();
        let mut opening: Option<Opening> = None;
        let mut timer = pin!(sleep_until(self.policy.get().rotation.next()));
        let mut turn = pin!(services.slots.turn());
        let mut silence = Silence::new(&services, &self.container.id, self.policy.get().silence);
        let mut so_far = SoFar::default();
        loop {
            let deadline = self.captured.deadline();
            let alone = !rotation.is_overlapping();
            let mut over = None;
            let event = tokio::select! {
                // Reading comes last: a busy stream is always ready.
                biased;
                () = ready(()), if !alone && self.captured.has_caught_up() => Event::CaughtUp,
                () = &mut timer, if opening.is_none() => Event::Due {
                    may_grow_old: !so_far.any_new && self.may_grow_old(&stream),
                },
                opened = opened(&mut opening) => match opened {
                    Ok(new) => {
                        silence.taken_over();
                        so_far.any_new = false;
                        self.take_over(&mut stream, new)
                    }
                    Err(fault) => self.not_rotated(&fault),
                },
                sign = poll_fn(|cx| silence.poll(cx)) => {
                    let Some(stall) = self.stall(&mut silence, sign, so_far.reads) else {
                        continue;
                    };
                    if stall == Stall::Endless {
                        self.note_endless();
                    }
                    Event::Stalled
                }
                () = until(deadline) => {
                    self.captured.flush_due();
                    continue;
                }
                () = &mut turn => return End::GaveUpSlot,
                read = poll_fn(|cx| self.poll_read(cx, &mut stream, &mut so_far, deadline, alone)) => match read {
                    _ if self.captured.falls_short() => {
                        self.captured.ask_for_more();
                        Event::FellShort
                    }
                    Ok(Progress::Read(_)) => {
                        if std::mem::take(&mut so_far.other_policy) {
                            silence.set_intervals(self.policy.get().silence);
                            if alone && opening.is_none() {
                                timer.as_mut().reset(self.policy.get().rotation.next());
                            }
                        }
                        // Every other stream has its turn before this one's next.
                        yield_now().await;
                        continue;
                    }
                    read => {
                        over = Some(read);
                        Event::Over { brought_new: self.captured.is_live() }
                    }
                },
            };
            let is_stalled = matches!(event, Event::Stalled);
            let step = rotation.on(event);
            match step.action {
                Action::Wait => {}
                Action::OpenAnother => {
                    // One that is endless was told of when that was seen.
                    if is_stalled && !self.captured.is_endless() {
                        self.tell_of_stall();
                    }
                    opening = Some(self.open_another());
                }
                Action::Retire(old) => self.retire(old),
                Action::TakeBack(old) => self.take_back(&mut stream, old),
                Action::End => return self.end_of(over, &mut stream).await,
            }
            let now = Instant::now();
            match step.timer {
                Timer::Unchanged | Timer::Off => {}
                Timer::Rotation => timer.as_mut().reset(self.policy.get().rotation.next()),
                Timer::CatchUp => timer.as_mut().reset(now + CATCH_UP),
                Timer::AtOnce => timer.as_mut().reset(now),
            }
        }
    }

    /// What it comes to that a connection fell short, or what was its last read.
    async fn end_of(&mut self, over: Option<Result<Progress, Fault>>, stream: &mut Stream) -> End {
        match over {
            None => End::FellShort,
            Some(Err(fault)) => self.not_read(fault),
            Some(Ok(_)) => Box::pin(self.ended(stream)).await,
        }
    }

    /// Whether a rotation would be for nothing. Not so where the end of the log was not enough to go on from.
    fn may_grow_old(&self, stream: &Stream) -> bool {
        self.captured.asks_for_the_end() && stream.opened().elapsed() < self.policy.get().rotation.idle_interval
    }

    fn stall(&self, silence: &mut Silence, sign: Sign, reads: u64) -> Option<Stall> {
        let room = self.services.outbox.has_room();
        silence.judge(sign, reads, room, |time| self.captured.knows(time))
    }

    /// From now on its streams begin at a time.
    pub(super) fn note_endless(&mut self) {
        if self.captured.note_endless() {
            warn!(
                container = self.container.name,
                "the engine does not find the end of its log, which was truncated behind the engine's back: \
                 lines come late from now on, and some may be missing"
            );
            self.captured.series().stalled();
        }
    }

    fn tell_of_stall(&self) {
        info!(
            container = self.container.name,
            "its stream is silent while it writes; opened again"
        );
        self.captured.series().stalled();
    }
}
