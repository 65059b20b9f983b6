//! How many requests a second the engine gets, so that hundreds of streams that come back do not fall on an engine
//! that has only just come back itself.
//!
//! governor counts (GCRA); who waits, waits here. Its own waiting has a timer thread and no order.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use super::refusal::Refusal;

/// How many requests the engine gets: `docker.rate_limit`.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many requests pass each second, on average.
    pub requests_per_second: NonZeroU32,
    /// How many requests may pass at once after a pause.
    pub burst: NonZeroU32,
    /// How long a request may wait for its turn before it fails.
    pub max_wait: Duration,
}

/// tokio's clock, which tests can pause.
#[derive(Clone, Debug)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// First come, first served; short requests do not wait behind streams.
#[derive(Debug)]
pub(crate) struct RateLimit {
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>,
    clock: TokioClock,
    streams: Semaphore,
    control: Semaphore,
    max_wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Streams,
    Control,
}

impl RateLimit {
    pub(crate) fn new(rate: Rate) -> Self {
        let quota = Quota::per_second(rate.requests_per_second).allow_burst(rate.burst);
        let clock = TokioClock(Instant::now());
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            clock,
            streams: Semaphore::new(1),
            control: Semaphore::new(1),
            max_wait: rate.max_wait,
        }
    }

    /// Waits until one more request may be sent.
    pub(crate) async fn pass(&self, queue: Queue) -> Result<(), Refusal> {
        let queue = match queue {
            Queue::Streams => &self.streams,
            Queue::Control => &self.control,
        };
        let passed = timeout(self.max_wait, async {
            // Only the first of a queue looks at the limiter: tokio's semaphore keeps their order.
            let _first = queue.acquire().await;
            while let Err(not_yet) = self.limiter.check() {
                sleep(not_yet.wait_time_from(self.clock.now())).await;
            }
        });
        passed.await.map_err(|_| Refusal::RateLimited {
            max_wait: self.max_wait,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn limit(requests_per_second: u32, burst: u32, max_wait: Duration) -> Arc<RateLimit> {
        Arc::new(RateLimit::new(Rate {
            requests_per_second: requests_per_second.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
            max_wait,
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_at_once_come_through_in_order_and_no_faster_than_allowed() {
        let rate = limit(100, 50, Duration::from_secs(60));
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        let passed = Arc::new(AtomicUsize::new(0));
        for number in 0..200 {
            let (rate, passed) = (Arc::clone(&rate), Arc::clone(&passed));
            tasks.spawn(async move {
                rate.pass(Queue::Streams).await.unwrap();
                assert_eq!(passed.fetch_add(1, Ordering::Relaxed), number, "out of turn");
                began.elapsed()
            });
        }
        // A short request that comes last does not wait for them all.
        tokio::task::yield_now().await;
        rate.pass(Queue::Control).await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        let mut times = Vec::new();
        while let Some(time) = tasks.join_next().await {
            times.push(time.unwrap());
        }
        times.sort();
        assert!(times[49] < Duration::from_millis(20), "the burst: {:?}", times[49]);
        for (number, time) in times.iter().enumerate() {
            let later = times
                .iter()
                .filter(|t| (*time..*time + Duration::from_secs(1)).contains(*t));
            assert!(later.count() <= 100 + 50, "from {number} on");
        }
        let last = times[199];
        assert!((1.4..2.0).contains(&last.as_secs_f64()), "{last:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_so_and_leaves_the_queue() {
        let rate = limit(1, 1, Duration::from_millis(1_500));
        rate.pass(Queue::Streams).await.unwrap();
        let (first, second) = tokio::join!(rate.pass(Queue::Streams), rate.pass(Queue::Streams));
        first.unwrap();
        assert!(matches!(second, Err(Refusal::RateLimited { .. })));
        sleep(Duration::from_secs(1)).await;
        rate.pass(Queue::Streams).await.unwrap();
    }
}
