//! The circuit against a model that keeps the whole history and looks at it anew each time.

use super::*;

/// Everything that happened since the last change of state.
#[derive(Default)]
struct Model {
    state: &'static str,
    changed: Duration,
    /// Calls that were let through since then, by number: under way, or how they ended and when.
    calls: Vec<(u64, Option<(Outcome, Duration)>)>,
    /// In the order of their end.
    ends: Vec<(Outcome, Duration)>,
}

impl Model {
    fn to(&mut self, state: &'static str, now: Duration) {
        *self = Model {
            state,
            changed: now,
            ..Model::default()
        };
    }

    fn under_way(&self) -> usize {
        self.calls.iter().filter(|(_, end)| end.is_none()).count()
    }

    fn enter(&mut self, call: u64, now: Duration, t: &Thresholds) -> bool {
        if self.state == "open" && now >= self.changed + t.open_time {
            self.to("half_open", now);
        }
        let lets = match self.state {
            "closed" => true,
            "open" => false,
            _ => self.under_way() < t.half_open_calls,
        };
        if lets {
            self.calls.push((call, None));
        }
        lets
    }

    fn leave(&mut self, call: u64, verdict: Outcome, now: Duration, t: &Thresholds) {
        let Some(end) = self.calls.iter_mut().find(|(number, _)| *number == call) else {
            return;
        };
        end.1 = Some((verdict, now));
        self.ends.push((verdict, now));
        let count = |verdict| self.ends.iter().filter(|(v, _)| *v == verdict).count();
        if self.state == "half_open" {
            if count(Outcome::Failure) > 0 {
                self.to("open", now);
            } else if count(Outcome::Success) >= t.success_threshold {
                self.to("closed", now);
            }
            return;
        }
        let since_success = self.ends.iter().rev().take_while(|(v, _)| *v != Outcome::Success);
        let recent = since_success.filter(|(v, at)| *v == Outcome::Failure && now - *at < t.failure_window);
        if recent.count() >= t.failure_threshold {
            self.to("open", now);
        }
    }
}

#[test]
fn it_does_what_the_model_does() {
    let mut seen = std::collections::BTreeMap::<(&str, &str), u32>::new();
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let thresholds = Thresholds {
            failure_threshold: random.usize(1..6),
            failure_window: Duration::from_millis(random.u64(1..2_000)),
            open_time: Duration::from_millis(random.u64(1..1_000)),
            half_open_calls: random.usize(1..4),
            success_threshold: random.usize(1..4),
        };
        let began = Instant::now();
        let mut now = Duration::ZERO;
        let mut circuit = Circuit::new(thresholds);
        let mut model = Model::default();
        model.to("closed", now);
        let mut open: Vec<(u64, Ticket)> = Vec::new();
        for call in 0..400 {
            let before = model.state;
            if random.bool() || open.is_empty() {
                let entered = circuit.enter(began + now);
                let lets = model.enter(call, now, &thresholds);
                assert_eq!(entered.is_ok(), lets, "seed {seed}, call {call}, {}", model.state);
                match entered {
                    Ok(ticket) => open.push((call, ticket)),
                    // To come back after that long is worth it, and no later than that.
                    Err(wait) => assert!(!wait.is_zero() && wait <= thresholds.open_time || open.len() > 1),
                }
            } else {
                let (number, ticket) = open.swap_remove(random.usize(..open.len()));
                let verdict = *random
                    .choice(&[Outcome::Success, Outcome::Failure, Outcome::Failure, Outcome::Nothing])
                    .unwrap();
                circuit.leave(ticket, verdict, began + now);
                model.leave(number, verdict, now, &thresholds);
            }
            assert_eq!(circuit.state.name(), model.state, "seed {seed}, call {call}");
            if let State::HalfOpen { calls, .. } = circuit.state {
                assert!(calls <= thresholds.half_open_calls);
                assert_eq!(calls, model.under_way());
            }
            if before != model.state {
                *seen.entry((before, model.state)).or_default() += 1;
            }
            now += Duration::from_millis(random.u64(0..100));
        }
    }
    let changes: Vec<_> = seen.keys().copied().collect();
    let all = [
        ("closed", "open"),
        ("half_open", "closed"),
        ("half_open", "open"),
        ("open", "half_open"),
    ];
    assert_eq!(changes, all, "{seen:?}");
    assert!(seen.values().all(|&times| times > 100), "{seen:?}");
}

fn breaker() -> (Breaker, Arc<Metrics>) {
    let registry = crate::metrics::registry().unwrap();
    let metrics = Arc::new(Metrics::new(&registry).unwrap());
    let thresholds = Thresholds {
        failure_threshold: 2,
        failure_window: Duration::from_secs(10),
        open_time: Duration::from_secs(1),
        half_open_calls: 1,
        success_threshold: 1,
    };
    (Breaker::new(thresholds, Arc::clone(&metrics), "the engine"), metrics)
}

fn state(metrics: &Metrics) -> Vec<&'static str> {
    let states = ["closed", "open", "half_open"].into_iter();
    states
        .filter(|state| metrics.breaker_state.with_label_values(&[state]).get() == 1)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_says_nothing_and_leaves_its_place() {
    let (breaker, metrics) = breaker();
    assert_eq!(state(&metrics), ["closed"]);
    for _ in 0..2 {
        breaker.enter().unwrap().ended(Outcome::Failure, || "it is away".into());
    }
    assert_eq!(state(&metrics), ["open"]);
    let Refusal::BreakerOpen { retry_in, cause } = breaker.enter().unwrap_err() else {
        panic!("another error");
    };
    assert_eq!((retry_in, cause.as_str()), (Duration::from_secs(1), "it is away"));
    tokio::time::sleep(retry_in).await;
    for _ in 0..100 {
        let call = breaker.enter().unwrap();
        assert!(breaker.enter().is_err(), "one at a time");
        assert!(breaker.check().is_err());
        drop(call);
    }
    assert_eq!(state(&metrics), ["half_open"]);
    assert_eq!(metrics.recoveries.get(), 0);
    breaker.enter().unwrap().ended(Outcome::Success, String::new);
    assert_eq!(state(&metrics), ["closed"]);
    assert_eq!(metrics.recoveries.get(), 1);
}
