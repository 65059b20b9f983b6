//! How well the engine is, from several signs: one sick part shall not hide behind the others, and one slow answer
//! shall not look like the end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// How the engine's health is judged: `docker.health`. Weights count relative to their sum.
#[derive(Clone, Copy, Debug)]
pub struct Signs {
    /// The weight of pings over idle connections.
    pub ping_weight: f64,
    /// The weight of how long the last list of containers took.
    pub list_weight: f64,
    /// The weight of the event stream being open.
    pub events_weight: f64,
    /// Pings that fail one after the other until nothing is left of that sign.
    pub unhealthy_after: u32,
    /// A list that takes longer counts half.
    pub slow_list: Duration,
    /// The score, of 1, from which on the engine counts as well.
    pub ready_at: f64,
}

/// How well the engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the engine counts as healthy.
    pub ready: bool,
    /// Why, in words.
    pub detail: String,
}

/// What was heard last of each.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    ping: Option<Duration>,
    failed_pings: u32,
    list: Option<Result<Duration, ()>>,
    follows_events: bool,
    /// What is heard from now on is our own doing.
    left: bool,
}

#[derive(Debug)]
pub struct Health {
    signs: Signs,
    heard: Mutex<Heard>,
    verdict: watch::Sender<Verdict>,
    answers_again: Notify,
}

impl Health {
    pub fn new(signs: Signs) -> Self {
        let verdict = judge(&Heard::default(), &signs);
        Self {
            signs,
            heard: Mutex::default(),
            verdict: watch::Sender::new(verdict),
            answers_again: Notify::new(),
        }
    }

    pub fn verdicts(&self) -> watch::Receiver<Verdict> {
        self.verdict.subscribe()
    }

    /// Waits until the engine answers after it did not: whoever was to try again later may do so now.
    pub async fn answering_again(&self) {
        self.answers_again.notified().await;
    }

    pub fn answers_again(&self) {
        self.answers_again.notify_waiters();
    }

    pub fn pinged(&self, result: Result<Duration, ()>) {
        self.hear(|heard| match result {
            Ok(took) => {
                if heard.failed_pings > 0 {
                    self.answers_again();
                }
                (heard.ping, heard.failed_pings) = (Some(took), 0);
            }
            Err(()) => heard.failed_pings = heard.failed_pings.saturating_add(1),
        });
    }

    pub fn listed(&self, result: Result<Duration, ()>) {
        self.hear(|heard| heard.list = Some(result));
    }

    pub fn follows_events(&self, follows: bool) {
        self.hear(|heard| heard.follows_events = follows);
    }

    /// The agent stops: that it follows no events any more says nothing of the engine.
    pub fn leave(&self) {
        self.hear(|heard| heard.left = true);
    }

    fn hear(&self, change: impl FnOnce(&mut Heard)) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut heard);
        let verdict = judge(&heard, &self.signs);
        let before = self.verdict.send_replace(verdict.clone());
        match (before.ready, verdict.ready) {
            (false, true) => info!(signs = verdict.detail, "the engine is well"),
            (true, false) if !heard.left => warn!(signs = verdict.detail, "the engine is not well"),
            _ => {}
        }
    }
}

fn judge(heard: &Heard, signs: &Signs) -> Verdict {
    let ping = match heard.ping {
        None => (0.0, "none yet".to_owned()),
        Some(_) if heard.failed_pings > 0 => (
            (1.0 - f64::from(heard.failed_pings) / f64::from(signs.unhealthy_after)).max(0.0),
            format!("failed {} times", heard.failed_pings),
        ),
        Some(took) => (1.0, shown(took)),
    };
    let list = match heard.list {
        None => (0.0, "none yet".to_owned()),
        Some(Err(())) => (0.0, "failed".to_owned()),
        Some(Ok(took)) if took > signs.slow_list => (0.5, shown(took)),
        Some(Ok(took)) => (1.0, shown(took)),
    };
    let events = if heard.follows_events {
        (1.0, "followed")
    } else {
        (0.0, "not followed")
    };
    let (w, all) = (signs, signs.ping_weight + signs.list_weight + signs.events_weight);
    let score = (ping.0 * w.ping_weight + list.0 * w.list_weight + events.0 * w.events_weight) / all;
    Verdict {
        // What adds up to the limit in decimals may fall short of it by the last bit.
        ready: score + 1e-9 >= signs.ready_at,
        detail: format!("{score:.2} of 1: ping {}, list {}, events {}", ping.1, list.1, events.1),
    }
}

fn shown(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_signs_are_weighed() {
        let health = Health::new(Signs {
            ping_weight: 5.0,
            list_weight: 1.0,
            events_weight: 4.0,
            unhealthy_after: 3,
            slow_list: 100 * MS,
            ready_at: 0.65,
        });
        let verdicts = health.verdicts();
        let score = || {
            let verdict = verdicts.borrow().clone();
            (verdict.detail[..4].to_owned(), verdict.ready)
        };
        let mut seen = vec![score()];
        let mut after = |change: &dyn Fn()| {
            change();
            seen.push(score());
        };
        after(&|| health.pinged(Ok(MS)));
        after(&|| health.follows_events(true));
        after(&|| health.listed(Ok(MS)));
        after(&|| health.listed(Ok(200 * MS)));
        after(&|| health.listed(Ok(MS)));
        after(&|| health.pinged(Err(())));
        after(&|| health.pinged(Err(())));
        after(&|| health.pinged(Err(())));
        after(&|| health.pinged(Err(())));
        after(&|| health.pinged(Ok(MS)));
        after(&|| health.follows_events(false));
        after(&|| health.listed(Err(())));
        let expected = [
            ("0.00", false),
            ("0.50", false),
            ("0.90", true),
            ("1.00", true),
            ("0.95", true),
            ("1.00", true),
            ("0.83", true),
            ("0.67", true),
            ("0.50", false),
            ("0.50", false),
            ("1.00", true),
            ("0.60", false),
            ("0.50", false),
        ];
        assert_eq!(seen, expected.map(|(score, ready)| (score.to_owned(), ready)));
        assert_eq!(
            verdicts.borrow().detail,
            "0.50 of 1: ping 1.0 ms, list failed, events not followed"
        );
    }
}
