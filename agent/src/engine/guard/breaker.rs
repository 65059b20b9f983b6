//! Whether the engine is asked at all: a circuit breaker.
//!
//! ```text
//!             failure_threshold failures within failure_window
//!                      and no success between them
//!          ┌────────┐                        ┌──────┐
//!          │ closed ├───────────────────────►│ open │◄────────┐
//!          └───▲────┘                        └──┬───┘         │
//!              │                       after    │             │ a failure
//!              │                     open_time  │             │
//!              │                           ┌────▼──────┐      │
//!              └───────────────────────────┤ half open ├──────┘
//!                success_threshold         └───────────┘
//!                successes                 half_open_calls at a time
//! ```
//!
//! A success in between ends a run of failures, because open means that *nobody* is served: an engine that answers
//! most requests is not to be shut out for the others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::super::metrics::Metrics;
use super::refusal::Refusal;

/// When the circuit breaker opens and closes: `docker.circuit_breaker`.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    /// How many failures in a row, all within the window, open it.
    pub failure_threshold: usize,
    /// A failure that is older no longer counts.
    pub failure_window: Duration,
    /// How long nobody is let through. Then it is half open.
    pub open_time: Duration,
    /// How many calls at a time are let through while it is half open.
    pub half_open_calls: usize,
    /// How many of them must succeed before it closes.
    pub success_threshold: usize,
}

/// What a call says of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    /// Something of this one request, or it was given up.
    Nothing,
}

#[derive(Debug)]
enum State {
    /// When the last calls failed; never more than the threshold.
    Closed {
        failures: VecDeque<Instant>,
    },
    Open {
        since: Instant,
    },
    HalfOpen {
        calls: usize,
        successes: usize,
    },
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Closed { .. } => "closed",
            State::Open { .. } => "open",
            State::HalfOpen { .. } => "half_open",
        }
    }
}

const CLOSED: State = State::Closed {
    failures: VecDeque::new(),
};

/// The state machine; pure, so that it can be held against a model.
#[derive(Debug)]
struct Circuit {
    thresholds: Thresholds,
    state: State,
    /// Counts changes of state: a call that was let through before the last one says nothing any more.
    epoch: u64,
}

/// The right to one call.
#[derive(Clone, Copy, Debug)]
struct Ticket {
    epoch: u64,
}

impl Circuit {
    fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            state: CLOSED,
            epoch: 0,
        }
    }

    fn change(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
    }

    /// Lets a call through, or tells when it is worth asking again.
    fn enter(&mut self, now: Instant) -> Result<Ticket, Duration> {
        if let Some(wait) = self.refuses(now) {
            return Err(wait);
        }
        if matches!(self.state, State::Open { .. }) {
            self.change(State::HalfOpen { calls: 0, successes: 0 });
        }
        if let State::HalfOpen { calls, .. } = &mut self.state {
            *calls += 1;
        }
        Ok(Ticket { epoch: self.epoch })
    }

    fn refuses(&self, now: Instant) -> Option<Duration> {
        let Thresholds {
            open_time,
            half_open_calls,
            ..
        } = self.thresholds;
        match self.state {
            State::Open { since } => Some((since + open_time).saturating_duration_since(now)).filter(|w| !w.is_zero()),
            // One of the calls under way will decide.
            State::HalfOpen { calls, .. } if calls >= half_open_calls => Some(open_time / 4),
            _ => None,
        }
    }

    fn leave(&mut self, ticket: Ticket, verdict: Outcome, now: Instant) {
        if ticket.epoch != self.epoch {
            return;
        }
        match &mut self.state {
            State::Closed { failures } => match verdict {
                Outcome::Nothing => {}
                Outcome::Success => failures.clear(),
                Outcome::Failure => {
                    failures.push_back(now);
                    failures.retain(|&at| now - at < self.thresholds.failure_window);
                    if failures.len() >= self.thresholds.failure_threshold {
                        self.change(State::Open { since: now });
                    }
                }
            },
            State::HalfOpen { calls, successes } => {
                *calls -= 1;
                match verdict {
                    Outcome::Nothing => {}
                    Outcome::Success => {
                        *successes += 1;
                        if *successes >= self.thresholds.success_threshold {
                            self.change(CLOSED);
                        }
                    }
                    Outcome::Failure => self.change(State::Open { since: now }),
                }
            }
            // To be open it must have changed since any ticket was given out.
            State::Open { .. } => {}
        }
    }
}

/// The circuit that all requests to one peer share.
#[derive(Debug)]
pub(crate) struct Breaker {
    shared: Mutex<Shared>,
    metrics: Arc<Metrics>,
    /// Whom it is about, in words.
    peer: String,
}

#[derive(Debug)]
struct Shared {
    circuit: Circuit,
    /// Since when it is not closed, and why.
    trouble: Option<(Instant, String)>,
}

impl Breaker {
    pub(crate) fn new(thresholds: Thresholds, metrics: Arc<Metrics>, peer: &str) -> Self {
        let breaker = Self {
            shared: Mutex::new(Shared {
                circuit: Circuit::new(thresholds),
                trouble: None,
            }),
            metrics,
            peer: peer.to_owned(),
        };
        breaker.show("closed");
        breaker
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.lock().circuit.state, State::Closed { .. })
    }

    /// Refuses at once what would be refused when its turn has come.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        let shared = self.lock();
        match shared.circuit.refuses(Instant::now()) {
            Some(wait) => Err(shared.refusal(wait)),
            None => Ok(()),
        }
    }

    /// Lets one call through. Dropped without a word, it says nothing of the engine.
    pub(crate) fn enter(&self) -> Result<Call<'_>, Refusal> {
        let mut shared = self.lock();
        let before = shared.circuit.epoch;
        let ticket = shared.circuit.enter(Instant::now());
        if shared.circuit.epoch != before {
            debug!("circuit breaker half open: {} is tried", self.peer);
            self.show(shared.circuit.state.name());
        }
        match ticket {
            Ok(ticket) => Ok(Call {
                breaker: self,
                ticket: Some(ticket),
            }),
            Err(wait) => Err(shared.refusal(wait)),
        }
    }

    fn leave(&self, ticket: Ticket, verdict: Outcome, cause: &dyn Fn() -> String) {
        let mut shared = self.lock();
        let now = Instant::now();
        let before = shared.circuit.epoch;
        shared.circuit.leave(ticket, verdict, now);
        if shared.circuit.epoch == before {
            return;
        }
        self.show(shared.circuit.state.name());
        if verdict == Outcome::Failure {
            let cause = cause();
            match &mut shared.trouble {
                // Said already, when it opened first.
                Some((_, last)) => {
                    debug!(cause, "circuit breaker open again");
                    *last = cause;
                }
                none => {
                    warn!(cause, "circuit breaker open: {} is only tried now and then", self.peer);
                    *none = Some((now, cause));
                }
            }
        } else if let Some((since, cause)) = shared.trouble.take() {
            let after = format!("{:.1}s", since.elapsed().as_secs_f64());
            info!(after, cause, "circuit breaker closed: {} answers again", self.peer);
            self.metrics.recoveries.inc();
        }
    }

    fn show(&self, state: &str) {
        for each in ["closed", "open", "half_open"] {
            let gauge = self.metrics.breaker_state.with_label_values(&[each]);
            gauge.set(i64::from(each == state));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn refusal(&self, retry_in: Duration) -> Refusal {
        let cause = self.trouble.as_ref().map(|(_, cause)| cause.clone());
        Refusal::BreakerOpen {
            retry_in,
            cause: cause.unwrap_or_default(),
        }
    }
}

/// A call that was let through.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    breaker: &'a Breaker,
    ticket: Option<Ticket>,
}

impl Call<'_> {
    /// `cause` is asked for only where it changes the state.
    pub(crate) fn ended(mut self, verdict: Outcome, cause: impl Fn() -> String) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.leave(ticket, verdict, &cause);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.breaker.leave(ticket, Outcome::Nothing, &String::new);
        }
    }
}

#[cfg(test)]
mod tests;
