//! What the outbox and the sinks' intakes share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;

use super::batch::{Records, Spares};
use super::window::Window;
use crate::config;
use crate::encode::Encoder;

/// Bounds of what waits for the sinks.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The size in bytes at which a batch is handed over even while the sinks are writing.
    pub batch_bytes: usize,
    /// How many batches a sink may have that it has not acknowledged. Then [`Outbox`] has no room.
    pub max_batches: usize,
    /// The age at which a batch is handed over even while the sinks are writing.
    pub flush_interval: Duration,
}

impl From<&config::Delivery> for Bounds {
    fn from(delivery: &config::Delivery) -> Self {
        Self {
            batch_bytes: config::bytes(delivery.batch_bytes),
            max_batches: delivery.max_batches,
            flush_interval: delivery.flush_interval,
        }
    }
}

/// What all clones of the outbox and all intakes share.
pub(super) struct Shared {
    pub bounds: Bounds,
    /// For each sink one.
    pub desks: Vec<Desk>,
    pub spares: Arc<Spares>,
    pub state: Mutex<State>,
    /// A record has come into an empty batch.
    pub begun: Notify,
}

/// What changes as records come and go.
#[derive(Default)]
pub(super) struct State {
    pub encoder: Encoder,
    /// The next batch.
    pub records: Records,
    /// Records that were added.
    pub pushed: u64,
    /// Batches that were handed over.
    pub sealed: u64,
    /// Questions for marks that were asked.
    pub asked: u64,
    /// By task: there can be one for each stream.
    pub waiting: HashMap<Task, Waker>,
}

/// What a waker wakes, as `Waker::will_wake` compares it.
pub(super) type Task = (usize, usize);

/// By which of two wakers it is told whether they wake the same.
pub(super) fn task(waker: &Waker) -> Task {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn desk(&self, sink: usize) -> &Desk {
        &self.desks[sink]
    }

    pub(super) fn all(&self, holds: impl Fn(&Window) -> bool) -> bool {
        self.desks.iter().all(|desk| holds(&desk.window()))
    }

    /// How many batches may be handed over before the first window is full.
    pub(super) fn free(&self) -> usize {
        let free = self.desks.iter().map(|desk| desk.window().free());
        free.min().unwrap_or(self.bounds.max_batches)
    }

    /// A sink has got on.
    pub(super) fn wake(&self) {
        // Under the lock, so that the map keeps its room: a waker only puts its task into a queue.
        self.lock().waiting.drain().for_each(|(_, waker)| waker.wake());
    }
}

/// What the outbox and one sink share.
pub(super) struct Desk {
    /// The sink's.
    pub name: String,
    window: Mutex<Window>,
    /// Rings when there may be something for the sink.
    pub bell: Notify,
    /// Rings at the same time, for who keeps what the sink does not take.
    pub keeper: Notify,
}

impl Desk {
    pub(super) fn new(name: String, limit: usize) -> Self {
        Self {
            name,
            window: Mutex::new(Window::new(limit)),
            bell: Notify::new(),
            keeper: Notify::new(),
        }
    }

    pub(super) fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn ring(&self) {
        self.bell.notify_one();
        self.keeper.notify_one();
    }
}
