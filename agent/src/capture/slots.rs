//! How many logs may be read at the same time.
//!
//! With more containers than slots, the slots are shared out in time: who waits asks, and a stream that has had its turn
//! makes room for one that asks. Who gives a slot up goes to the end of the queue, so everybody's turn comes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::metrics::Metrics;
use crate::config;

/// How long a stream keeps its slot at least, while others wait: what a reopen costs must stay small beside it.
const TURN: Duration = Duration::from_secs(2);

/// How many streams may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotLimits {
    /// For containers whose log is read.
    pub streams: usize,
    /// Beyond these, for rotations.
    pub spare: usize,
}

impl From<&config::Capture> for SlotLimits {
    fn from(capture: &config::Capture) -> Self {
        Self {
            streams: capture.streams.max_concurrent,
            spare: capture.rotation.max_concurrent,
        }
    }
}

impl SlotLimits {
    /// As many of them as so many descriptors serve; one stream, and one rotation, in any case.
    pub fn within(self, descriptors: usize) -> Self {
        let spare = self.spare.min(descriptors / 4).max(1);
        Self {
            streams: self.streams.min(descriptors.saturating_sub(spare)).max(1),
            spare,
        }
    }
}

/// The limit on streams, first come first served, and the spare places that rotations use
/// while the old connection is still open.
#[derive(Clone, Debug)]
pub struct Slots {
    streams: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    asking: Arc<Asking>,
    /// What the semaphores have in all, held or free.
    limits: Arc<Mutex<SlotLimits>>,
    metrics: Arc<Metrics>,
}

/// Those who wait for a slot, and the slots that were given up for them and are on their way.
#[derive(Debug, Default)]
struct Asking {
    waiting: AtomicUsize,
    given_up: AtomicUsize,
    came: Notify,
}

/// The right to hold one stream; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    slots: Slots,
}

/// One who waits. Cancelled, it asks no more.
struct Asks<'a>(&'a Asking);

impl<'a> Asks<'a> {
    fn new(asking: &'a Asking) -> Self {
        asking.waiting.fetch_add(1, Ordering::Relaxed);
        asking.came.notify_waiters();
        Self(asking)
    }
}

impl Drop for Asks<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        // The slot can have come from one that ended by itself; then one more is given up than was needed.
        let less = |count: usize| count.checked_sub(1);
        let _ = self.0.given_up.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Asking {
    fn are_unanswered(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > self.given_up.load(Ordering::Relaxed)
    }
}

impl Slots {
    /// At most `limits.streams` are read at a time; rotations may hold `limits.spare` more.
    pub fn new(limits: SlotLimits, metrics: Arc<Metrics>) -> Self {
        Self {
            streams: Arc::new(Semaphore::new(limits.streams)),
            spare: Arc::new(Semaphore::new(limits.spare)),
            asking: Arc::default(),
            limits: Arc::new(Mutex::new(limits)),
            metrics,
        }
    }

    /// Waits for a slot; `waits` is called first when none is free.
    pub async fn take(&self, waits: impl FnOnce()) -> Slot {
        let permit = match Arc::clone(&self.streams).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                waits();
                let _asks = Asks::new(&self.asking);
                permit(&self.streams).await
            }
        };
        self.metrics.streams_active.inc();
        self.observe();
        Slot {
            _permit: permit,
            slots: self.clone(),
        }
    }

    /// Waits until a slot that is taken now is to be given up: it was held for a turn, and somebody waits for one. Granted
    /// once for each that waits.
    pub async fn turn(&self) {
        sleep(TURN).await;
        loop {
            let wanted = self.asking.came.notified();
            if self.asking.are_unanswered() {
                self.asking.given_up.fetch_add(1, Ordering::Relaxed);
                return;
            }
            wanted.await;
        }
    }

    /// Waits for a place beyond the limit, for the length of a rotation.
    pub async fn spare(&self) -> OwnedSemaphorePermit {
        permit(&self.spare).await
    }

    /// Returns when the limits are these. Slots that are held and are too many are waited for, each for its turn, so that no
    /// stream is cut off. If this is dropped before, the limits are somewhere on the way.
    pub async fn resize(&self, wanted: SlotLimits) {
        let SlotLimits { streams, spare } = *self.limits();
        self.streams.add_permits(wanted.streams.saturating_sub(streams));
        self.spare.add_permits(wanted.spare.saturating_sub(spare));
        *self.limits() = SlotLimits {
            streams: streams.max(wanted.streams),
            spare: spare.max(wanted.spare),
        };
        self.observe();
        while self.limits().spare > wanted.spare {
            self.spare().await.forget();
            self.limits().spare -= 1;
        }
        while self.limits().streams > wanted.streams {
            {
                let _asks = Asks::new(&self.asking);
                permit(&self.streams).await.forget();
            }
            self.limits().streams -= 1;
            self.observe();
        }
    }

    fn limits(&self) -> MutexGuard<'_, SlotLimits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self) {
        let active = self.metrics.streams_active.get() as f64;
        self.metrics.utilization.set(active / self.limits().streams as f64);
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.expect("the slots are never closed")
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.metrics.streams_active.dec();
        self.slots.observe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::timeout;

    fn metrics() -> Arc<Metrics> {
        let registry = crate::metrics::registry().unwrap();
        let delivery = crate::delivery::Metrics::new(&registry).unwrap();
        Arc::new(Metrics::new(&registry, &delivery).unwrap())
    }

    fn limits(streams: usize) -> SlotLimits {
        SlotLimits { streams, spare: 1 }
    }

    /// `holders` tasks take turns on `limit` slots, as followers do; gives how often each had one.
    async fn turns(holders: usize, limit: usize, seconds: u64) -> Vec<u64> {
        let slots = Slots::new(limits(limit), metrics());
        let mut tasks = tokio::task::JoinSet::new();
        let counts: Arc<Vec<std::sync::atomic::AtomicU64>> = Arc::new((0..holders).map(|_| 0.into()).collect());
        for holder in 0..holders {
            let (slots, counts) = (slots.clone(), Arc::clone(&counts));
            tasks.spawn(async move {
                loop {
                    let _slot = slots.take(|| {}).await;
                    counts[holder].fetch_add(1, Ordering::Relaxed);
                    assert!(slots.metrics.streams_active.get() <= limit as i64);
                    slots.turn().await;
                }
            });
        }
        sleep(Duration::from_secs(seconds)).await;
        tasks.shutdown().await;
        assert_eq!(slots.metrics.streams_active.get(), 0);
        let waiting = slots.asking.waiting.load(Ordering::Relaxed);
        assert_eq!(waiting, 0, "a cancelled waiter still asks");
        counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_has_a_turn() {
        let counts = turns(120, 50, 600).await;
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        // 600 s, turns of 2 s, 50 slots for 120: 125 turns each.
        assert!(*least >= 110 && *most <= 140, "{least} to {most}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_gives_up_a_slot_for_nothing() {
        assert_eq!(turns(50, 50, 600).await, vec![1; 50]);
    }

    #[tokio::test(start_paused = true)]
    async fn limits_change_while_slots_are_held() {
        let slots = Slots::new(limits(2), metrics());
        let mut tasks = tokio::task::JoinSet::new();
        let most = Arc::new(AtomicUsize::new(0));
        for _ in 0..6 {
            let (slots, most) = (slots.clone(), Arc::clone(&most));
            tasks.spawn(async move {
                loop {
                    let _slot = slots.take(|| {}).await;
                    let active = slots.metrics.streams_active.get() as usize;
                    most.fetch_max(active, Ordering::Relaxed);
                    slots.turn().await;
                }
            });
        }
        for wanted in [2, 5, 1, 3] {
            // One is given up on the way, and the next one is right all the same.
            let _ = timeout(Duration::from_millis(1), slots.resize(limits(1))).await;
            slots.resize(limits(wanted)).await;
            assert_eq!(slots.limits().streams, wanted);
            most.store(0, Ordering::Relaxed);
            sleep(Duration::from_secs(60)).await;
            assert_eq!(most.load(Ordering::Relaxed), wanted);
            assert_eq!(slots.metrics.utilization.get(), 1.0);
        }
        tasks.shutdown().await;
        assert_eq!(slots.streams.available_permits(), 3);
        assert_eq!(slots.asking.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slot_that_is_given_back_is_taken_at_once() {
        let slots = Slots::new(limits(1), metrics());
        let first = slots.take(|| panic!("there is one")).await;
        assert!(timeout(Duration::from_secs(1), slots.take(|| {})).await.is_err());
        assert!(!slots.asking.are_unanswered(), "the one that waited has gone");
        drop(first);
        slots.take(|| panic!("there is one again")).await;
    }
}
