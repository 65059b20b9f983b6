//! A stretch of reading over connections: from the one that is opened first to what ended it. It owns the connections and
//! the timers, and obeys: `rotation` says which connection is read, `silence` whether it is stalled, and `slots` when
//! another container has its turn.

use std::future::{poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tracing::{debug, info, warn};

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
/// How long a stream of a container that has ended may go on without bringing anything. An engine ends it at once.
const LEFT_OPEN: Duration = Duration::from_secs(5);
/// And where another container waits for its slot.
const HURRIED: Duration = Duration::from_millis(250);

/// When what a stream has brought is first compared with the log, and how much later at most.
const COMPARED: Duration = Duration::from_secs(5);
const COMPARED_LAST: Duration = Duration::from_secs(60);

/// For how long an engine may be kept waiting with a line.
const HELD: Duration = Duration::from_secs(1);

/// Since when there has been no room for what a stream brings.
#[derive(Debug, Default)]
struct Held(Option<Pin<Box<Sleep>>>);

impl Held {
    /// Ready when it was too long. Called while nothing can be read.
    fn poll(&mut self, cx: &mut Context<'_>, room: bool) -> Poll<()> {
        if room {
            self.0 = None;
            return Poll::Pending;
        }
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep(HELD)));
        timer.as_mut().poll(cx)
    }
}

/// When a stream of a container that has ended is given up.
#[derive(Debug, Default)]
struct LeftOpen {
    until: Option<Instant>,
    /// What it had brought by the last look.
    reads: u64,
    /// Another container waits for its slot.
    hurries: bool,
}

impl LeftOpen {
    fn look(&mut self, is_over: bool, reads: u64) {
        if !is_over {
            // It was started again. Its stream ends then, too.
            self.until = None;
        } else if self.until.is_none() {
            self.wait(reads);
        }
    }

    fn wait(&mut self, reads: u64) {
        let wait = if self.hurries { HURRIED } else { LEFT_OPEN };
        self.until = Some(Instant::now() + wait);
        self.reads = reads;
    }

    fn hurry(&mut self, reads: u64) {
        self.hurries = true;
        self.wait(reads);
    }

    /// Whether it has brought nothing for so long, though there was `room`.
    fn is_due(&mut self, reads: u64, room: bool) -> bool {
        let is_due = room && reads == self.reads;
        self.wait(reads);
        is_due
    }
}

/// When what came is compared with the log.
#[derive(Debug)]
struct Comparing {
    at: Option<Instant>,
    pause: Duration,
}

impl Default for Comparing {
    fn default() -> Self {
        Self {
            at: None,
            pause: COMPARED,
        }
    }
}

impl Comparing {
    /// Something has come.
    fn is_wanted(&mut self) {
        self.at.get_or_insert_with(|| Instant::now() + self.pause);
    }

    fn is_done(&mut self) {
        self.at = None;
        self.pause = (2 * self.pause).min(COMPARED_LAST);
    }
}

impl Follower {
    /// Opens the log and reads it for as long as it goes.
    pub(in crate::capture) async fn read(&mut self) -> End {
        match Box::pin(self.services.source.follows_by_time()).await {
            Ok(by_time) => self.captured.set_goes_by_time(by_time),
            Err(fault) => return self.not_opened(fault),
        }
        if self.captured.witness.bursts()
            && let Some(end) = Box::pin(self.read_by_turns()).await
        {
            return end;
        }
        if self.captured.must_be_read_first() {
            // All that there is by now tells whether the last line is in it. A stream that goes on would not.
            match Box::pin(self.read_rest()).await {
                Ok(_) => {}
                Err(fault @ Fault::Broken(_)) => return self.not_read(fault),
                Err(fault) => return self.not_opened(fault),
            }
        }
        let since = self.captured.since(Until::Death);
        let standstills = self.services.standstills.look();
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
        self.captured.begin(since, Until::Death);
        let _reading = self.services.metrics.reads_from("api");
        let services = Arc::clone(&self.services);
        let mut rotation = Rotation::default();
        let mut opening: Option<Opening> = None;
        let mut timer = pin!(sleep_until(self.policy.get().rotation.next()));
        let mut turn = pin!(services.slots.turn());
        let mut silence = Silence::new(&services, &self.container.id, self.policy.get().silence);
        let mut so_far = SoFar::default();
        so_far.begins();
        let mut life = self.life.clone();
        let mut left_open = LeftOpen::default();
        let mut held = Held::default();
        let mut comparing = Comparing::default();
        loop {
            let deadline = self.captured.deadline();
            left_open.look(life.borrow_and_update().is_over(), so_far.reads);
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
                        so_far.begins();
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
                () = until(comparing.at) => {
                    comparing.is_done();
                    Box::pin(self.compare()).await;
                    continue;
                }
                () = until(so_far.patience) => {
                    so_far.lose_patience();
                    continue;
                }
                Ok(()) = life.changed() => continue,
                () = until(left_open.until) => {
                    if !left_open.is_due(so_far.reads, services.outbox.has_room()) {
                        continue;
                    }
                    debug!(container = self.container.name, "its container has ended, and its stream has not");
                    over = Some(Ok(Progress::Ended));
                    Event::Over { brought_new: true }
                }
                // What a container that has ended still has is read first: there may be nothing to come back for.
                () = &mut turn, if !left_open.hurries => match left_open.until {
                    None => return End::GaveUpSlot,
                    Some(_) => {
                        left_open.hurry(so_far.reads);
                        continue;
                    }
                },
                () = poll_fn(|_| if services.standstills.look() == standstills { Poll::Pending } else { Poll::Ready(()) }),
                    if !self.life.borrow().removed => return self.stood_still(),
                read = poll_fn(|cx| {
                    let read = self.poll_read(cx, &mut stream, &mut so_far, deadline, alone).map(Some);
                    if read.is_pending() && held.poll(cx, services.outbox.has_room()).is_ready() && !self.life.borrow().removed {
                        return Poll::Ready(None);
                    }
                    read
                }) => match read {
                    None => return self.held(),
                    _ if self.captured.falls_short() => {
                        self.captured.ask_for_more();
                        Event::FellShort
                    }
                    Some(Ok(Progress::Read(_))) => {
                        if std::mem::take(&mut so_far.other_policy) {
                            silence.set_intervals(self.policy.get().silence);
                            if alone && opening.is_none() {
                                timer.as_mut().reset(self.policy.get().rotation.next());
                            }
                        }
                        if self.should_learn(&so_far) {
                            so_far.asked_for_rotation = true;
                            Box::pin(self.learn_of_rotation()).await;
                        }
                        if so_far.any_new {
                            comparing.is_wanted();
                        }
                        if self.captured.witness.is_pressing() && alone && opening.is_none() {
                            Box::pin(self.compare()).await;
                        }
                        if self.captured.witness.bursts() && alone && opening.is_none() {
                            Box::pin(self.compare()).await;
                            return End::Bursts;
                        }
                        // Every other stream has its turn before this one's next.
                        yield_now().await;
                        continue;
                    }
                    Some(read) => {
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
                        self.captured.be_unsure();
                        if self.captured.must_be_read_first() {
                            return End::FellShort;
                        }
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

    /// There was no room for so long that the engine may have lost its place in files that it rotates: what it sends then is
    /// not to be believed.
    fn held(&self) -> End {
        self.count("held");
        debug!(
            container = self.container.name,
            "no room for its lines; its stream is closed until there is"
        );
        End::Held
    }

    /// The agent was stopped, or the machine suspended, for so long that the like may have happened; or the clock was set
    /// back.
    fn stood_still(&mut self) -> End {
        self.captured.be_unsure();
        self.count("stood_still");
        debug!(
            container = self.container.name,
            "the agent stood still; its stream is opened again"
        );
        End::StoodStill
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
