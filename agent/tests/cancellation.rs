//! Whatever is given up, at whatever `await`, leaves nothing behind: no connection, no count, no descriptor; and the
//! kernel says the same, where its part can be loaded.
//!
//! Each operation is polled N times and then dropped, for N = 0, 1, 2, … until it comes to its end, against a peer that
//! answers, or does not, with connections in the pool and without. Alone in its process, which it counts the descriptors
//! of.

mod peer;

use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use log_capturer::engine::{
    Checks, Endpoint, Engine, Limits, Metrics, Opener, Options, Rate, Retry, Signs, Size, Thresholds,
};
use log_capturer::kernel::{self, Kernel, RefusalKind};
use log_capturer::record::{ContainerId, Since, Until};
use log_capturer::register::{OnConnect, Register, Site};
use peer::{Behaviour, Peer};

const SECOND: Duration = Duration::from_secs(1);
const TURNS: usize = 50;

#[derive(Clone, Copy, Debug)]
enum Operation {
    /// Acquire, request, read.
    Ping,
    /// The version, then the list.
    List,
    Events,
    Logs,
    /// Two for one place: one waits.
    TwoForOnePlace,
    /// The pool's own work: opens ahead of need, and pings what is idle.
    Tend,
    /// Closed while a request is under way.
    Close,
}

const OPERATIONS: [Operation; 7] = [
    Operation::Ping,
    Operation::List,
    Operation::Events,
    Operation::Logs,
    Operation::TwoForOnePlace,
    Operation::Tend,
    Operation::Close,
];

#[derive(Clone, Copy, Debug)]
enum Idle {
    None,
    One,
    Two,
}

/// Polls `N` times and drops. `None`: it was not ready by then.
async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

fn engine(peer: &Peer, register: &Register) -> (Engine, Arc<Metrics>) {
    let registry = log_capturer::metrics::registry().expect("a registry");
    let metrics = Arc::new(Metrics::new(&registry).expect("metrics"));
    let limits = Limits {
        connect: SECOND,
        head: SECOND / 5,
        body: SECOND,
    };
    let opener = Opener {
        endpoint: Endpoint::unix(peer.path()).into(),
        register: register.clone(),
        limits,
        metrics: Arc::clone(&metrics),
    };
    let options = Options {
        size: Size {
            min_size: 2,
            max_size: 2,
            max_idle: 2,
            idle_timeout: SECOND,
            max_age: 60 * SECOND,
            wait_timeout: SECOND,
            target_utilization: 0.8,
            growth_factor: 1.5,
        },
        retry: Retry {
            initial_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(2),
            max_attempts: 2,
        },
        thresholds: Thresholds {
            failure_threshold: 100,
            failure_window: SECOND,
            open_time: SECOND,
            half_open_calls: 1,
            success_threshold: 1,
        },
        rate: Rate {
            requests_per_second: 1_000_000.try_into().expect("not 0"),
            burst: 1_000_000.try_into().expect("not 0"),
            max_wait: SECOND,
        },
        checks: Checks {
            interval: Duration::ZERO,
            timeout: Duration::from_millis(20),
            unhealthy_after: 2,
        },
        signs: Signs {
            ping_weight: 1.0,
            list_weight: 1.0,
            events_weight: 1.0,
            unhealthy_after: 2,
            slow_list: SECOND,
            ready_at: 0.5,
        },
    };
    (Engine::new(opener, options), metrics)
}

/// Boxed, for they are of many types; whether it succeeds is the peer's affair.
fn start(operation: Operation, engine: Engine) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        match operation {
            Operation::Ping => drop(engine.ping().await),
            Operation::List => drop(engine.list().await),
            Operation::Events => {
                if let Ok(mut events) = engine.events(None).await {
                    let _ = events.next().await;
                }
            }
            Operation::Logs => {
                let container = ContainerId::new("ab");
                let opened = engine.logs(&container, Site::Follow, Since::Beginning, Until::Death, 1 << 20);
                if let Ok(mut stream) = opened.await {
                    while let Ok(log_capturer::engine::Progress::Read(_)) =
                        stream.read(|_| Poll::Ready(usize::MAX), &mut |_| ()).await
                    {}
                }
            }
            Operation::TwoForOnePlace => {
                let _one = engine.pool().lease().await;
                let _ = tokio::join!(engine.ping(), engine.ping());
            }
            // What it begins goes on while it rests: each turn of the runtime counts, not each of its own polls.
            Operation::Tend => {
                let turns = async {
                    for _ in 0..TURNS {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    () = engine.tend() => {}
                    () = turns => {}
                }
            }
            Operation::Close => {
                let close = async {
                    tokio::task::yield_now().await;
                    engine.pool().close();
                };
                let _ = tokio::join!(engine.ping(), close);
            }
        }
    })
}

/// A machine that is busy with other work may let a ping wait for longer than its limit.
async fn until_ok<E: std::fmt::Display>(attempt: impl AsyncFn() -> Result<(), E>) {
    let mut attempts = 0;
    while let Err(error) = attempt().await {
        attempts += 1;
        assert!(attempts < 10, "no ping in {attempts} attempts: {error}");
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc/self/fd").count()
}

/// `None`, and said so, where the kernel part cannot run; with `LOG_CAPTURER_REQUIRE_ALL=1`, as in CI, a failure.
fn attach() -> Option<Arc<Kernel>> {
    match Kernel::attach(&kernel::Options::default()) {
        Ok(kernel) => Some(Arc::new(kernel)),
        Err(refusal) => {
            assert_ne!(refusal.kind, RefusalKind::Unexpected, "{refusal}");
            let line = format!("not run: the ledger after cancellation: {refusal}");
            let required = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "{line}");
            writeln!(std::io::stderr(), "{line}").expect("stderr");
            None
        }
    }
}

#[tokio::test]
async fn whatever_is_given_up_leaves_nothing_behind() {
    let kernel = attach();
    let register = Register::new(kernel.clone().map(|kernel| kernel as Arc<dyn OnConnect>));
    let peer = Peer::start();
    tokio::task::yield_now().await;
    let before = descriptors();
    let (mut given_up, mut completed, mut opened) = (0, 0, 0);
    for operation in OPERATIONS {
        for behaviour in Behaviour::ALL {
            for idle in [Idle::None, Idle::One, Idle::Two] {
                for polls in 0.. {
                    let what = format!("{operation:?}, {behaviour:?}, idle {idle:?}, {polls} polls");
                    let (engine, metrics) = engine(&peer, &register);
                    peer.set(Behaviour::Answers);
                    match idle {
                        Idle::None => {}
                        Idle::One => until_ok(async || engine.ping().await.map(drop)).await,
                        Idle::Two => {
                            until_ok(async || {
                                let both = tokio::join!(engine.ping(), engine.ping());
                                both.0.and(both.1).map(drop)
                            })
                            .await;
                        }
                    }
                    peer.set(behaviour);
                    let ended = polled(start(operation, engine.clone()), polls).await;
                    peer.set(Behaviour::Answers);
                    // What tending has begun is aborted, which takes a turn of the runtime.
                    tokio::task::yield_now().await;

                    engine.pool().observe();
                    let state = |state| metrics.connections.with_label_values(&[state]).get();
                    let counts = |name| metrics.pool_operations.with_label_values(&[name]).get();
                    assert_eq!((state("active"), state("unhealthy")), (0, 0), "{what}");
                    assert_eq!(metrics.utilization.get(), 0.0, "{what}");
                    assert_eq!(state("idle"), (counts("open") - counts("close")) as i64, "{what}");
                    assert_eq!(state("idle"), register.count() as i64, "{what}");
                    engine.pool().close();
                    assert_eq!(register.count(), 0, "{what}");
                    assert_eq!(counts("open"), counts("close"), "{what}");
                    opened += counts("open");
                    let quiet = tokio::time::timeout(20 * SECOND, peer.quiet()).await;
                    quiet.unwrap_or_else(|_| panic!("{what}: a connection that stays open"));
                    assert_eq!(descriptors(), before, "{what}");
                    if let Some(kernel) = &kernel {
                        let held = kernel.snapshot().expect("a snapshot").connections;
                        assert!(held.is_empty(), "{what}: {held:?}");
                    }
                    if ended.is_some() {
                        completed += 1;
                        break;
                    }
                    given_up += 1;
                }
            }
        }
    }
    println!("given up {given_up} times, {completed} came to their end; {opened} pooled connections");
    assert!(given_up > 1_000 && completed > 50, "{given_up}, {completed}");
}
