//! Where records gather until a batch of them is handed to the sinks.
//!
//! A line is encoded once, from the read buffer straight into the batch that every sink
//! writes from. Batches are bounded in number: when the slowest sink holds them all, there
//! is no room, the streams stop reading, and the engine keeps the lines. Nothing is dropped.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::json::{Encoder, Tail};
use crate::record::Line;

/// Bounds of what waits for the sinks.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub batch_bytes: usize,
    pub max_batches: usize,
    pub flush_interval: Duration,
}

#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    bounds: Bounds,
    state: Mutex<State>,
    /// A record has come into an empty batch.
    begun: Notify,
}

#[derive(Default)]
struct State {
    encoder: Encoder,
    bytes: Vec<u8>,
    records: u64,
    /// Batches that some sink still holds.
    in_flight: usize,
    spare: Vec<Vec<u8>>,
    waiting: Vec<Waker>,
    /// Emptied when the outbox is closed: the sinks then see the end.
    sinks: Vec<SyncSender<Arc<Batch>>>,
}

/// Records on their way to the sinks, as lines of JSON. When the last sink lets go of it,
/// its room is free again.
pub struct Batch {
    bytes: Vec<u8>,
    records: u64,
    shared: Arc<Shared>,
}

impl Batch {
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut state = self.shared.lock();
        state.in_flight -= 1;
        // One that a few huge lines blew up is given back to the system.
        if bytes.capacity() <= 2 * self.shared.bounds.batch_bytes {
            bytes.clear();
            state.spare.push(bytes);
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// `sinks` have a place for `bounds.max_batches` each, so handing over never waits.
    pub fn new(bounds: Bounds, sinks: Vec<SyncSender<Arc<Batch>>>) -> Self {
        let state = State {
            sinks,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                bounds,
                state: Mutex::new(state),
                begun: Notify::new(),
            }),
        }
    }

    /// Ready when what one read brings may be pushed.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        if state.in_flight < self.shared.bounds.max_batches {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Adds a record. Its batch is handed over when it is full.
    pub fn push(&self, line: &Line<'_>, tail: &Tail) {
        let mut state = self.shared.lock();
        let State { encoder, bytes, .. } = &mut *state;
        encoder.encode(line, tail, bytes);
        let full = bytes.len() >= self.shared.bounds.batch_bytes;
        state.records += 1;
        if state.records == 1 {
            self.shared.begun.notify_one();
        }
        if full {
            self.seal(state);
        }
    }

    /// Hands over what has gathered, as soon as it is old enough and there is room. Runs for
    /// as long as the agent does.
    pub async fn flush_by_age(&self) {
        loop {
            self.shared.begun.notified().await;
            tokio::time::sleep(self.shared.bounds.flush_interval).await;
            std::future::poll_fn(|cx| self.poll_room(cx)).await;
            self.seal(self.shared.lock());
        }
    }

    /// Hands over the rest, and tells the sinks that nothing more comes. Waits for room.
    pub async fn close(&self) {
        std::future::poll_fn(|cx| self.poll_room(cx)).await;
        self.seal(self.shared.lock());
        self.shared.lock().sinks.clear();
    }

    /// Without room the batch goes on growing, by no more than the read that filled it.
    fn seal(&self, mut state: MutexGuard<'_, State>) {
        if state.records == 0 || state.in_flight >= self.shared.bounds.max_batches {
            return;
        }
        let spare = state.spare.pop().unwrap_or_default();
        let batch = Arc::new(Batch {
            bytes: std::mem::replace(&mut state.bytes, spare),
            records: std::mem::take(&mut state.records),
            shared: Arc::clone(&self.shared),
        });
        state.in_flight += 1;
        for sink in &state.sinks {
            // A sink that has ended has told the agent so itself.
            let _ = sink.try_send(Arc::clone(&batch));
        }
        // In this order: a batch that no sink took locks the state when it is dropped.
        drop(state);
        drop(batch);
    }
}
