//! How many logs may be read at the same time.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::metrics::Metrics;

/// The limit on streams, first come first served, and the spare places that rotations use
/// while the old connection is still open.
#[derive(Clone, Debug)]
pub struct Slots {
    streams: Arc<Semaphore>,
    spare: Arc<Semaphore>,
    limit: usize,
    metrics: Arc<Metrics>,
}

/// The right to hold one stream; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    slots: Slots,
}

impl Slots {
    pub fn new(limit: usize, spare: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            streams: Arc::new(Semaphore::new(limit)),
            spare: Arc::new(Semaphore::new(spare)),
            limit,
            metrics,
        }
    }

    /// Waits for a slot; `waits` is called first when none is free.
    pub async fn take(&self, waits: impl FnOnce()) -> Slot {
        let permit = match Arc::clone(&self.streams).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                waits();
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

    /// Waits for a place beyond the limit, for the length of a rotation.
    pub async fn spare(&self) -> OwnedSemaphorePermit {
        permit(&self.spare).await
    }

    fn observe(&self) {
        let active = self.metrics.streams_active.get() as f64;
        self.metrics.utilization.set(active / self.limit as f64);
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
