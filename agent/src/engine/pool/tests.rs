//! The pool against a peer that misbehaves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::*;
use crate::engine::{Endpoint, Limits, Metrics};
use crate::register::Register;

#[path = "../../../tests/peer/mod.rs"]
mod peer;

use peer::{Behaviour, Peer};

const MS: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a ping may take. Whoever answers at once does so within that on the busiest machine.
const PING: Duration = Duration::from_secs(2);

/// Lets so much time pass for the pool. It passes at once, and on a slow machine it is no more.
async fn passes(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn size() -> Size {
    Size {
        min_size: 0,
        max_size: 4,
        max_idle: 4,
        idle_timeout: PATIENCE,
        max_age: PATIENCE,
        wait_timeout: PATIENCE,
        target_utilization: 0.8,
        growth_factor: 1.5,
    }
}

fn pool(peer: &Peer, size: Size) -> Pool {
    let registry = crate::metrics::registry().unwrap();
    let limits = Limits {
        connect: PATIENCE,
        head: PATIENCE,
        body: PATIENCE,
    };
    let opener = Opener {
        endpoint: Endpoint::unix(peer.path()).into(),
        register: Register::default(),
        limits,
        metrics: Arc::new(Metrics::new(&registry).unwrap()),
    };
    let checks = Checks {
        interval: Duration::ZERO,
        timeout: PING,
        unhealthy_after: 3,
    };
    Pool::new(Arc::new(opener), size, checks)
}

impl Pool {
    fn operations(&self, name: &str) -> u64 {
        let operations = &self.0.opener.metrics.pool_operations;
        operations.with_label_values(&[name]).get()
    }

    fn state(&self, name: &str) -> i64 {
        self.observe();
        self.0.opener.metrics.connections.with_label_values(&[name]).get()
    }

    fn open_now(&self) -> usize {
        self.0.opener.register.count()
    }

    async fn ping(&self) -> Result<u16, EngineError> {
        Ok(self.lease().await?.get("/_ping", |_| true).await?.status)
    }

    /// One round of pings.
    async fn check_all(&self) -> usize {
        let mut checks = JoinSet::new();
        let heard = Arc::new(AtomicUsize::new(0));
        for check in self.due() {
            let heard = Arc::clone(&heard);
            checks.spawn(check.run(move |said| {
                heard.fetch_add(usize::from(said.is_ok()), Ordering::Relaxed);
            }));
        }
        checks.join_all().await;
        heard.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn the_connection_that_was_used_least_is_lent_first() {
    let peer = Peer::start();
    let pool = pool(&peer, size());
    let three = [
        pool.lease().await.unwrap(),
        pool.lease().await.unwrap(),
        pool.lease().await.unwrap(),
    ];
    drop(three);
    for _ in 0..30 {
        assert_eq!(pool.ping().await.unwrap(), 200);
    }
    let state = pool.0.state();
    let uses: Vec<_> = state.idle.iter().map(|pooled| pooled.uses).collect();
    assert_eq!(uses, [11, 11, 11]);
    drop(state);
    assert_eq!((pool.operations("open"), pool.operations("reuse")), (3, 30));
    assert_eq!((pool.operations("recycle"), pool.operations("wait")), (33, 0));
    for _ in 0..2 {
        let due = pool.due();
        assert_eq!(due.len(), 3, "a ping that is put off is still due");
        due.into_iter().for_each(Check::later);
    }
    let state = pool.0.state();
    assert!(state.idle.iter().all(|pooled| pooled.uses == 11), "and is no use");
}

#[tokio::test]
async fn it_grows_ahead_of_need_and_shrinks_when_that_is_over() {
    let peer = Peer::start();
    let size = Size {
        min_size: 1,
        max_size: 6,
        max_idle: 6,
        ..size()
    };
    let pool = pool(&peer, size);
    pool.reap();
    pool.fill().await.unwrap();
    assert_eq!(pool.open_now(), 1, "the least");
    let busy = [pool.lease().await.unwrap(), pool.lease().await.unwrap()];
    pool.reap();
    passes(5 * MS).await;
    pool.reap();
    pool.fill().await.unwrap();
    assert_eq!(pool.open_now(), 3, "half as many more");
    drop(busy);
    pool.reap();
    assert_eq!(pool.open_now(), 3, "not at once");
    passes(PATIENCE).await;
    pool.reap();
    pool.fill().await.unwrap();
    assert_eq!(pool.open_now(), 1);
}

#[tokio::test]
async fn who_waits_has_a_turn_in_order_or_is_told() {
    let peer = Peer::start();
    let size = Size { max_size: 1, ..size() };
    let pool = pool(&peer, size);
    let held = pool.lease().await.unwrap();
    // Nothing but time happens meanwhile, so it passes at once.
    tokio::time::pause();
    assert!(matches!(
        pool.lease().await,
        Err(EngineError::Refused(Refusal::NoneFree { .. }))
    ));
    tokio::time::resume();
    let served = Arc::new(AtomicUsize::new(0));
    let mut waiting = JoinSet::new();
    for number in 0..20 {
        let (pool, served) = (pool.clone(), Arc::clone(&served));
        waiting.spawn(async move {
            let _lease = pool.lease().await.unwrap();
            assert_eq!(served.fetch_add(1, Ordering::Relaxed), number);
        });
    }
    tokio::task::yield_now().await;
    drop(held);
    waiting.join_all().await;
    assert_eq!((pool.operations("open"), pool.operations("wait")), (1, 21));
    let waits = pool.0.opener.metrics.pool_wait_seconds.get_sample_count();
    assert_eq!(waits, 22);
}

#[tokio::test]
async fn a_silent_connection_is_isolated_and_recovers_or_is_closed() {
    let peer = Peer::start();
    let pool = pool(&peer, size());
    let metrics = Arc::clone(&pool.0.opener.metrics);
    pool.ping().await.unwrap();
    for recovers in [true, false] {
        peer.set(Behaviour::Silent);
        let checking = tokio::spawn({
            let pool = pool.clone();
            async move { pool.check_all().await }
        });
        let unhealthy = async {
            while pool.state("unhealthy") == 0 {
                sleep(MS).await;
            }
        };
        // Nothing but time happens while the peer is silent, so it passes at once.
        tokio::time::pause();
        timeout(PATIENCE, unhealthy).await.expect("isolated");
        assert_eq!((pool.state("idle"), pool.state("active")), (0, 0));
        if recovers {
            tokio::time::resume();
            peer.set(Behaviour::Answers);
            assert_eq!(checking.await.unwrap(), 1);
            assert_eq!((pool.state("idle"), pool.state("unhealthy")), (1, 0));
            assert_eq!(metrics.recoveries.get(), 1);
            assert_eq!(pool.operations("open"), 1, "the same one");
        } else {
            assert_eq!(checking.await.unwrap(), 0);
            assert_eq!(pool.open_now(), 0, "closed");
            assert_eq!(pool.state("unhealthy"), 0);
        }
    }
    assert!(metrics.health_failures.get() >= 3 + 6);
    assert_eq!(metrics.health_seconds.get_sample_count(), 2);
}

#[tokio::test]
async fn one_that_answers_pings_with_errors_is_lent_to_nobody_until_it_is_well() {
    let peer = Peer::start();
    let size = Size { max_size: 1, ..size() };
    let pool = pool(&peer, size);
    pool.ping().await.unwrap();
    peer.set(Behaviour::Fails);
    for failures in 1..=4 {
        passes(PING).await;
        assert_eq!(pool.check_all().await, 0);
        assert_eq!(pool.state("unhealthy"), i64::from(failures >= 3), "after {failures}");
    }
    peer.set(Behaviour::Answers);
    passes(PING).await;
    assert_eq!(pool.check_all().await, 1);
    assert_eq!((pool.state("idle"), pool.state("unhealthy")), (1, 0));
    assert_eq!(pool.operations("open"), 1);

    peer.set(Behaviour::Fails);
    for _ in 0..3 {
        passes(PING).await;
        pool.check_all().await;
    }
    assert_eq!(pool.state("unhealthy"), 1);
    // It makes room: the limit is one.
    let lease = pool.lease().await.unwrap();
    assert!(!lease.is_reused());
    assert_eq!((pool.open_now(), pool.operations("close")), (1, 1));
    drop(lease);
    for _ in 0..6 {
        passes(PING).await;
        pool.check_all().await;
    }
    assert_eq!(pool.open_now(), 0, "one that does not recover is closed");
}

/// Random acquire, release, failure, giving up and age-out: the limits hold at every step, nobody waits for ever, and
/// nothing is left.
#[tokio::test]
async fn under_random_use_the_limits_hold_and_nobody_is_forgotten() {
    let mut seen = [0; 4];
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let max_size = random.usize(1..6);
        let max_idle = random.usize(0..=max_size);
        let size = Size {
            min_size: random.usize(0..=max_idle),
            max_size,
            max_idle,
            idle_timeout: random.u32(0..20) * MS,
            max_age: random.u32(1..30) * MS,
            wait_timeout: random.u32(5..500) * MS,
            ..size()
        };
        let peer = Peer::start();
        let pool = pool(&peer, size);
        let mut tasks = JoinSet::new();
        let mut asked = 0;
        for step in 0..120 {
            match random.u32(0..20) {
                0..=11 => {
                    asked += 1;
                    let pool = pool.clone();
                    let (hold, patience) = (random.u32(0..4) * MS, random.u32(0..40) * MS);
                    tasks.spawn(async move {
                        let used = timeout(patience, async {
                            let mut lease = pool.lease().await?;
                            lease.get("/_ping", |_| true).await?;
                            sleep(hold).await;
                            Ok::<_, EngineError>(())
                        });
                        match used.await {
                            Ok(Ok(())) => 0,
                            Ok(Err(EngineError::Refused(Refusal::NoneFree { .. }))) => 1,
                            Ok(Err(_)) => 2,
                            Err(_) => 3,
                        }
                    });
                }
                12 => peer.set(*random.choice(&Behaviour::ALL).unwrap()),
                13 => peer.set(Behaviour::Answers),
                14 | 15 => pool.reap(),
                16 => drop(timeout(5 * MS, pool.fill()).await),
                17 => drop(timeout(random.u32(0..100) * MS, pool.check_all()).await),
                _ => sleep(random.u32(0..3) * MS).await,
            }
            let open = pool.open_now();
            assert!(open <= max_size, "seed {seed}, step {step}: {open} of {max_size}");
            let idle = pool.0.state().idle.len();
            assert!(idle <= max_idle, "seed {seed}, step {step}: {idle} idle of {max_idle}");
        }
        peer.set(Behaviour::Answers);
        let ended = timeout(PATIENCE, tasks.join_all()).await;
        let ended = ended.unwrap_or_else(|_| panic!("seed {seed}: somebody waits for ever"));
        assert_eq!(ended.len(), asked);
        ended.iter().for_each(|&how: &usize| seen[how] += 1);
        assert_eq!(pool.0.places.available_permits(), max_size, "seed {seed}");
        assert_eq!(pool.0.state().load.in_use(), 0, "seed {seed}");
        let idle = pool.0.state().idle.len();
        assert_eq!(pool.open_now(), idle, "seed {seed}");
        assert_eq!(pool.operations("open") - pool.operations("close"), idle as u64);
        // It still serves.
        pool.ping().await.unwrap();
        pool.close();
        assert_eq!((pool.open_now(), pool.0.state().isolated), (0, 0), "seed {seed}");
        assert!(pool.lease().await.is_err(), "closed");
        peer.quiet().await;
    }
    assert!(
        seen.iter().all(|&times| times > 20),
        "served, none free, failed, gave up: {seen:?}"
    );
}
