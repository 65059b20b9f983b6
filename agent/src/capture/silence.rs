//! A stream that is silent although its container writes.
//!
//! That happens where a log file is truncated or replaced behind the engine's back, with engines that lose track of their
//! own rotation, and with whatever stands between the engine and the agent. The stream itself cannot tell. So once it has
//! been silent for a while, the engine is asked for the last record of the log. If that is one that never came, and does
//! not come in the next moment either, the stream is stalled and another takes over.
//!
//! Engine 26 and newer do not notice that a `json-file` was truncated: a follow brings nothing more (moby#45728), and a
//! question for the last record is not answered. Only a stream that is opened by a time brings what is there. So from the
//! first question without an answer on, nothing is asked any more, and silence alone has another stream take over.
//!
//! ```text
//!            silent            newer than the last line        still silent
//!   listens ────────► asks ───────────────────────────► suspects ────────► stalled
//!      ▲                │ known; asks again later           │ something came
//!      └────────────────┴───────────────────────────────────┘
//! ```

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep, timeout};

use super::probes::Intervals;
use super::services::Services;
use crate::record::{ContainerId, Time};
use crate::source::{Cause, Fault, Newest};

/// How long a line that the engine can read may take to come over a stream that is well: engines hear of a change of a
/// file late on a busy machine, and some look every second only.
const GRACE: Duration = Duration::from_secs(2);
/// How long the engine may take to answer, from the connection to the last byte. It does at once, or something is wrong.
const ANSWER: Duration = Duration::from_secs(2);
/// Reads between two looks that show a container which writes often, so that its silence says something soon. One that
/// writes a line now and then is silent most of the time: asked for as soon after each line, hundreds of such would have the
/// engine look into their logs all day.
const OFTEN: u64 = 4;

type Asking = Pin<Box<dyn Future<Output = Result<Newest, Fault>> + Send>>;

/// Looks after one open stream.
pub(super) struct Silence {
    services: Arc<Services>,
    container: ContainerId,
    doubt: Doubt,
    timer: Pin<Box<Sleep>>,
    asking: Option<Asking>,
}

/// Something to be judged.
#[derive(Debug)]
pub(super) enum Sign {
    Time,
    Newest(Result<Newest, Fault>),
}

/// Why another stream has to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// It does not bring a record that is there.
    Silent,
    /// The engine does not find the end of the log.
    Endless,
}

impl Silence {
    pub(super) fn new(services: &Arc<Services>, container: &ContainerId, intervals: Intervals) -> Self {
        let doubt = Doubt::new(intervals);
        Self {
            services: Arc::clone(services),
            container: container.clone(),
            timer: Box::pin(sleep(doubt.pause)),
            doubt,
            asking: None,
        }
    }

    /// Waits until there is something to judge. Nothing is lost when it is cancelled, and reading does not touch it: it
    /// compares counts, now and then.
    pub(super) fn poll(&mut self, cx: &mut Cx<'_>) -> Poll<Sign> {
        if let Some(asking) = &mut self.asking {
            return asking.as_mut().poll(cx).map(|newest| {
                self.asking = None;
                Sign::Newest(newest)
            });
        }
        self.timer.as_mut().poll(cx).map(|()| Sign::Time)
    }

    /// Judges a sign, and tells whether the stream is stalled. `reads` counts what came; `room` is false while the agent
    /// itself does not read; `knows` whether a line of this time is one of the last that were taken.
    pub(super) fn judge(&mut self, sign: Sign, reads: u64, room: bool, knows: impl Fn(Time) -> bool) -> Option<Stall> {
        let outcome = match &sign {
            Sign::Time => None,
            Sign::Newest(Ok(Newest::Record(time))) if !knows(*time) => Some("newer"),
            Sign::Newest(Ok(Newest::Endless)) => Some("endless"),
            Sign::Newest(Ok(Newest::Record(_) | Newest::Nothing)) => Some("quiet"),
            Sign::Newest(Err(_)) => Some("unanswered"),
        };
        if let Some(outcome) = outcome {
            self.services.metrics.probes.with_label_values(&[outcome]).inc();
        }
        match self.doubt.judge(sign, reads, room, knows) {
            Next::Wait(pause) => self.timer.as_mut().reset(Instant::now() + pause),
            Next::Ask => self.asking = Some(self.ask()),
            Next::Reopen(stall, pause) => {
                self.timer.as_mut().reset(Instant::now() + pause);
                return Some(stall);
            }
        }
        None
    }

    /// Another stream took over.
    pub(super) fn taken_over(&mut self) {
        self.doubt.taken_over();
    }

    /// From the next look on.
    pub(super) fn set_intervals(&mut self, intervals: Intervals) {
        self.doubt.intervals = intervals;
    }

    fn ask(&self) -> Asking {
        let (services, container) = (Arc::clone(&self.services), self.container.clone());
        Box::pin(async move {
            services.probes.turn().await;
            let newest = timeout(ANSWER, services.source.newest(&container));
            newest.await.unwrap_or_else(|_| {
                let text = format!("no answer in {ANSWER:?}");
                Err(Fault::Broken(Cause::new(text, "read_failed")))
            })
        })
    }
}

/// What is made of the signs. No I/O.
#[derive(Debug)]
struct Doubt {
    intervals: Intervals,
    /// Reads of the stream up to the last look.
    heard: u64,
    pause: Duration,
    /// The time of a record that should have come.
    suspected: Option<Time>,
    /// That of one for which another stream was asked for.
    stalled: Option<Time>,
    /// That of one for which another stream took over: where it does not come there either, a third would not help.
    in_vain: Option<Time>,
    /// The engine does not find the end of the log.
    endless: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Wait(Duration),
    Ask,
    Reopen(Stall, Duration),
}

impl Doubt {
    fn new(intervals: Intervals) -> Self {
        Self {
            intervals,
            heard: 0,
            pause: intervals.probe_after,
            suspected: None,
            stalled: None,
            in_vain: None,
            endless: false,
        }
    }

    fn judge(&mut self, sign: Sign, reads: u64, room: bool, knows: impl Fn(Time) -> bool) -> Next {
        let new = reads - std::mem::replace(&mut self.heard, reads);
        if self.endless && room {
            let pause = if new > 0 {
                self.pause = self.intervals.probe_after;
                self.pause
            } else {
                self.longer()
            };
            return Next::Reopen(Stall::Endless, pause);
        }
        if new > 0 || !room {
            self.suspected = None;
            if new >= OFTEN {
                self.pause = (self.pause / 2).max(self.intervals.probe_after);
            }
            return Next::Wait(self.pause);
        }
        match (sign, self.suspected.take()) {
            (Sign::Time, None) => Next::Ask,
            (Sign::Time, Some(newest)) => {
                self.stalled = Some(newest);
                Next::Reopen(Stall::Silent, self.longer())
            }
            (Sign::Newest(Ok(Newest::Endless)), _) => {
                self.endless = true;
                Next::Reopen(Stall::Endless, self.pause)
            }
            (Sign::Newest(Ok(Newest::Record(time))), _) if !knows(time) && self.in_vain != Some(time) => {
                self.suspected = Some(time);
                Next::Wait(GRACE)
            }
            (Sign::Newest(_), _) => Next::Wait(self.longer()),
        }
    }

    fn taken_over(&mut self) {
        if let Some(newest) = self.stalled.take() {
            self.in_vain = Some(newest);
        }
    }

    fn longer(&mut self) -> Duration {
        self.pause = (self.pause * 2).min(self.intervals.max_interval);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn doubt() -> Doubt {
        Doubt::new(Intervals {
            probe_after: 5 * SECOND,
            max_interval: 60 * SECOND,
        })
    }

    /// The line of time 7 was the last to come.
    fn knows(time: Time) -> bool {
        time == Time(7)
    }

    fn newest(time: i64) -> Sign {
        Sign::Newest(Ok(Newest::Record(Time(time))))
    }

    #[test]
    fn a_quiet_container_is_asked_for_less_and_less() {
        let mut doubt = doubt();
        let mut pauses = Vec::new();
        for _ in 0..5 {
            assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
            match doubt.judge(newest(7), 0, true, knows) {
                Next::Wait(pause) => pauses.push(pause.as_secs()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(pauses, [10, 20, 40, 60, 60]);
        // A line now and then changes nothing.
        assert_eq!(doubt.judge(Sign::Time, 1, true, knows), Next::Wait(60 * SECOND));
        assert_eq!(doubt.judge(Sign::Time, 1, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(7), 1, true, knows), Next::Wait(60 * SECOND));
        // It writes, and is silent again.
        let mut reads = 1;
        for pause in [30, 15, 7, 5, 5] {
            reads += OFTEN;
            let Next::Wait(next) = doubt.judge(Sign::Time, reads, true, knows) else {
                panic!("it is not silent");
            };
            assert_eq!(next.as_secs(), pause);
        }
        assert_eq!(doubt.judge(Sign::Time, reads, true, knows), Next::Ask);
        let empty = Sign::Newest(Ok(Newest::Nothing));
        assert_eq!(doubt.judge(empty, reads, true, knows), Next::Wait(10 * SECOND));
    }

    #[test]
    fn a_line_that_does_not_come_is_a_stall_and_one_that_comes_late_is_not() {
        let mut doubt = doubt();
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(8), 0, true, knows), Next::Wait(GRACE));
        assert_eq!(doubt.judge(Sign::Time, 1, true, knows), Next::Wait(5 * SECOND));

        assert_eq!(doubt.judge(Sign::Time, 1, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(9), 1, true, knows), Next::Wait(GRACE));
        let stalled = Next::Reopen(Stall::Silent, 10 * SECOND);
        assert_eq!(doubt.judge(Sign::Time, 1, true, knows), stalled);
    }

    #[test]
    fn a_reopened_stream_is_not_reopened_for_the_same_line_again() {
        let mut doubt = doubt();
        // The first time nobody could take over.
        for _ in 0..2 {
            assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
            assert_eq!(doubt.judge(newest(9), 0, true, knows), Next::Wait(GRACE));
            let next = doubt.judge(Sign::Time, 0, true, knows);
            assert!(matches!(next, Next::Reopen(Stall::Silent, _)), "{next:?}");
        }
        doubt.taken_over();
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(9), 0, true, knows), Next::Wait(40 * SECOND));
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(10), 0, true, knows), Next::Wait(GRACE));
    }

    #[test]
    fn a_log_without_an_end_is_opened_again_while_it_is_silent_and_nothing_more_is_asked() {
        let mut doubt = doubt();
        let endless = |pause| Next::Reopen(Stall::Endless, pause * SECOND);
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        let answer = Sign::Newest(Ok(Newest::Endless));
        assert_eq!(doubt.judge(answer, 0, true, knows), endless(5));
        // Each stream brings something: the next one is not far.
        for reads in 1..4 {
            assert_eq!(doubt.judge(Sign::Time, reads, true, knows), endless(5));
        }
        for pause in [10, 20, 40, 60, 60] {
            assert_eq!(doubt.judge(Sign::Time, 3, true, knows), endless(pause));
        }
        assert_eq!(doubt.judge(Sign::Time, 3, false, knows), Next::Wait(60 * SECOND));
        assert_eq!(doubt.judge(Sign::Time, 4, true, knows), endless(5));
    }

    #[test]
    fn silence_of_the_agents_own_making_is_none() {
        let mut doubt = doubt();
        assert_eq!(doubt.judge(Sign::Time, 0, false, knows), Next::Wait(5 * SECOND));
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        assert_eq!(doubt.judge(newest(8), 0, true, knows), Next::Wait(GRACE));
        assert_eq!(doubt.judge(Sign::Time, 0, false, knows), Next::Wait(5 * SECOND));
    }

    #[test]
    fn an_engine_that_does_not_answer_is_no_stall() {
        let mut doubt = doubt();
        assert_eq!(doubt.judge(Sign::Time, 0, true, knows), Next::Ask);
        let failed = Sign::Newest(Err(Fault::Broken(Cause::new("closed".into(), "read_failed"))));
        assert_eq!(doubt.judge(failed, 0, true, knows), Next::Wait(10 * SECOND));
    }
}
