//! Where records gather until a batch of them is handed to the sinks.
//!
//! A line is encoded once, from the read buffer straight into the batch that every sink
//! writes from. Batches are bounded in number: when the slowest sink holds them all, there
//! is no room, the streams stop reading, and the engine keeps the lines. Nothing is dropped.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;

use super::sink::FileEnd;
use crate::config;
use crate::encode::{Encoder, Tail};
use crate::record::Line;

/// Bytes of a log that are read at least. Fewer would be a system call for next to nothing.
const LEAST: usize = 256;

/// Bounds of what waits for the sinks.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The size in bytes at which a batch is handed over even while the sinks are writing.
    pub batch_bytes: usize,
    /// How many batches may wait for the slowest sink before [`Outbox`] has no room.
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

/// The one queue from the streams to all sinks. Its clones share it.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

struct Shared {
    bounds: Bounds,
    /// How many sinks there are.
    sinks: usize,
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
    spare: Vec<Spare>,
    /// By task: there can be one for each stream.
    waiting: HashMap<Task, Waker>,
    /// Batches that were handed over, and that all sinks are done with: they end in order.
    sealed: u64,
    done: u64,
    /// A batch ended that some sink had not acknowledged.
    lost: bool,
    /// Where the files ended with the last batch that is done.
    ends: Vec<FileEnd>,
    /// The batch that a barrier waits for, and where the files ended with it: others can be done before it looks.
    barrier: Option<u64>,
    ends_at_barrier: Vec<FileEnd>,
    /// Emptied when the outbox is closed: the sinks then see the end.
    sinks: Vec<SyncSender<Arc<Batch>>>,
}

/// Records on their way to the sinks, as lines of JSON. When the last sink lets go of it,
/// its room is free again.
pub struct Batch {
    bytes: Vec<u8>,
    records: u64,
    acknowledged: Mutex<Acknowledged>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Acknowledged {
    sinks: usize,
    ends: Vec<FileEnd>,
}

impl Batch {
    /// Lines of JSON, each with its line feed.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many records they are.
    pub fn records(&self) -> u64 {
        self.records
    }
}

impl Batch {
    /// A sink has written all of it; `end` is where its file ends now.
    pub fn acknowledge(&self, end: Option<FileEnd>) {
        let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.sinks += 1;
        acknowledged.ends.extend(end);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let acknowledged = self.acknowledged.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.shared.lock();
        state.in_flight -= 1;
        state.done += 1;
        state.lost |= acknowledged.sinks < self.shared.sinks;
        let mut before = std::mem::replace(&mut state.ends, std::mem::take(&mut acknowledged.ends));
        // An end holds its file open, which can be renamed and deleted by now.
        before.clear();
        if state.barrier == Some(state.done) {
            state.barrier = None;
            state.ends_at_barrier = state.ends.clone();
        }
        // One that a few huge lines blew up is given back to the system.
        if bytes.capacity() <= 2 * self.shared.bounds.batch_bytes {
            bytes.clear();
            state.spare.push(Spare { bytes, ends: before });
        }
        // Under the lock, so that the map keeps its room: a waker only puts its task into a queue.
        state.waiting.drain().for_each(|(_, waker)| waker.wake());
    }
}

/// What a waker wakes, as `Waker::will_wake` compares it.
type Task = (usize, usize);

fn task(waker: &Waker) -> Task {
    (waker.data().addr(), std::ptr::from_ref(waker.vtable()).addr())
}

/// What a batch that is done leaves for the next one, so that none allocates.
#[derive(Default)]
struct Spare {
    bytes: Vec<u8>,
    ends: Vec<FileEnd>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outbox {
    /// `sinks` have a place for `bounds.max_batches` each, so handing over never waits.
    /// `ends` is where their files end now.
    pub fn new(bounds: Bounds, sinks: Vec<SyncSender<Arc<Batch>>>, ends: Vec<FileEnd>) -> Self {
        let count = sinks.len();
        let state = State {
            sinks,
            ends,
            ..State::default()
        };
        Self {
            shared: Arc::new(Shared {
                bounds,
                sinks: count,
                state: Mutex::new(state),
                begun: Notify::new(),
            }),
        }
    }

    /// Ready when a log may be read. Gives how many bytes of it have room, where each becomes `growth` bytes of records at
    /// most.
    pub fn poll_room_for(&self, cx: &mut Context<'_>, growth: usize) -> Poll<usize> {
        let batch_bytes = self.shared.bounds.batch_bytes;
        self.poll_room(cx)
            .map(|batches| (batches * batch_bytes / growth).max(LEAST))
    }

    /// Ready when another batch may be handed over; gives how many.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut free = 0;
        let room = self.poll_until(cx, |state| {
            free = self.shared.bounds.max_batches.saturating_sub(state.in_flight);
            free > 0
        });
        room.map(|()| free)
    }

    /// Whether what one read brings may be pushed now.
    pub fn has_room(&self) -> bool {
        self.shared.lock().in_flight < self.shared.bounds.max_batches
    }

    /// Ready when `holds` is true; looked at again each time that a batch is done.
    fn poll_until(&self, cx: &mut Context<'_>, mut holds: impl FnMut(&State) -> bool) -> Poll<()> {
        let mut state = self.shared.lock();
        if holds(&state) {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        state.waiting.entry(task(waker)).or_insert_with(|| waker.clone());
        Poll::Pending
    }

    /// Hands over what has gathered, and waits until every sink has acknowledged it and all before. `at_seal` is called
    /// at the moment of the handing over: what it sees is what will have been acknowledged. `None` when a sink has
    /// failed, and never will; else also where the files end then. For one caller at a time.
    pub async fn barrier<T>(&self, at_seal: impl FnOnce() -> T) -> Option<(T, Vec<FileEnd>)> {
        poll_fn(|cx| self.poll_room(cx)).await;
        self.seal(self.shared.lock());
        let seen = at_seal();
        self.raise_barrier();
        poll_fn(|cx| self.poll_until(cx, |state| state.barrier.is_none())).await;
        let mut state = self.shared.lock();
        let ends = std::mem::take(&mut state.ends_at_barrier);
        (!state.lost).then_some((seen, ends))
    }

    fn raise_barrier(&self) {
        let mut state = self.shared.lock();
        if state.done < state.sealed {
            state.barrier = Some(state.sealed);
        } else {
            state.ends_at_barrier = state.ends.clone();
        }
    }

    /// Adds a record. Its batch is handed over when it is full.
    pub fn push(&self, line: &Line<'_>, tail: &Tail) {
        self.add(line, None, tail);
    }

    /// Adds a record that was put together from so many lines, one or more.
    pub fn push_merged(&self, line: &Line<'_>, lines: u32, tail: &Tail) {
        self.add(line, Some(lines), tail);
    }

    fn add(&self, line: &Line<'_>, lines: Option<u32>, tail: &Tail) {
        let mut state = self.shared.lock();
        let State { encoder, bytes, .. } = &mut *state;
        encoder.encode(line, lines, tail, bytes);
        let full = bytes.len() >= self.shared.bounds.batch_bytes;
        state.records += 1;
        if state.records == 1 {
            self.shared.begun.notify_one();
        }
        if full {
            self.seal(state);
        }
    }

    /// Hands over what has gathered: at once where the sinks have nothing to do, so that a lone line does not wait, and
    /// while they have, when it is old enough and there is room. Runs for as long as the agent does.
    pub async fn flush(&self) {
        loop {
            self.shared.begun.notified().await;
            let idle = poll_fn(|cx| self.poll_until(cx, |state| state.in_flight == 0));
            // An error is that it is old enough.
            let _ = tokio::time::timeout(self.shared.bounds.flush_interval, idle).await;
            poll_fn(|cx| self.poll_room(cx)).await;
            self.seal(self.shared.lock());
        }
    }

    /// Hands over the rest, and tells the sinks that nothing more comes. Waits for room.
    pub async fn close(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
        self.seal(self.shared.lock());
        self.shared.lock().sinks.clear();
    }

    /// Without room the batch goes on growing, by no more than the read that filled it.
    fn seal(&self, mut state: MutexGuard<'_, State>) {
        if state.records == 0 || state.in_flight >= self.shared.bounds.max_batches {
            return;
        }
        let Spare { bytes, ends } = state.spare.pop().unwrap_or_default();
        let batch = Arc::new(Batch {
            bytes: std::mem::replace(&mut state.bytes, bytes),
            records: std::mem::take(&mut state.records),
            acknowledged: Mutex::new(Acknowledged { sinks: 0, ends }),
            shared: Arc::clone(&self.shared),
        });
        state.in_flight += 1;
        state.sealed += 1;
        for sink in &state.sinks {
            // A sink that has ended has told the agent so itself.
            let _ = sink.try_send(Arc::clone(&batch));
        }
        // In this order: a batch that no sink took locks the state when it is dropped.
        drop(state);
        drop(batch);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;
    use std::task::Wake;

    use super::*;
    use crate::encode::Fields;
    use crate::record::{Container, ContainerId, Stream, Time};

    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn ten_thousand_streams_wait_and_each_is_woken_once() {
        let bounds = Bounds {
            batch_bytes: 1,
            max_batches: 1,
            flush_interval: Duration::from_secs(1),
        };
        let (sender, batches) = sync_channel(1);
        let outbox = Outbox::new(bounds, vec![sender], Vec::new());
        let container = Container {
            id: ContainerId::new("abc"),
            name: String::new(),
            image: String::new(),
            labels: Default::default(),
        };
        let tail = Tail::new(&container, "", &Fields::new(&[], &[]).unwrap());
        let line = Line {
            time: Time(0),
            stream: Stream::Stdout,
            bytes: b"",
            truncated: false,
        };
        outbox.push(&line, &tail);
        assert!(!outbox.has_room());
        let streams: Vec<_> = (0..10_000).map(|_| Arc::new(Counted(AtomicUsize::new(0)))).collect();
        for _ in 0..3 {
            for stream in &streams {
                let waker = Waker::from(Arc::clone(stream));
                assert!(
                    outbox
                        .poll_room_for(&mut Context::from_waker(&waker), tail.growth())
                        .is_pending()
                );
            }
        }
        assert_eq!(outbox.shared.lock().waiting.len(), streams.len());
        drop(batches.recv().unwrap());
        assert!(streams.iter().all(|stream| stream.0.load(Ordering::SeqCst) == 1));
        assert!(outbox.has_room() && outbox.shared.lock().waiting.is_empty());
    }

    #[test]
    fn what_may_be_read_has_room_whatever_its_records_bear() {
        let bounds = Bounds {
            batch_bytes: 256 * 1024,
            max_batches: 8,
            flush_interval: Duration::from_secs(1),
        };
        let (sender, batches) = sync_channel(bounds.max_batches);
        let outbox = Outbox::new(bounds, vec![sender], Vec::new());
        let mut cx = Context::from_waker(Waker::noop());
        for label in [0, 300, 16_000] {
            let container = Container {
                id: ContainerId::new("abc"),
                name: String::new(),
                image: String::new(),
                labels: [("label".to_owned(), "x".repeat(label))].into(),
            };
            let tail = Tail::new(&container, "", &Fields::new(&["*".to_owned()], &[]).unwrap());
            while let Poll::Ready(bytes) = outbox.poll_room_for(&mut cx, tail.growth()) {
                // Two-byte lines, with a time and a space before them.
                for _ in 0..bytes / 33 {
                    let line = Line {
                        time: Time(0),
                        stream: Stream::Stdout,
                        bytes: b"x",
                        truncated: false,
                    };
                    outbox.push(&line, &tail);
                }
                let waiting = outbox.shared.lock().bytes.len();
                assert!(waiting <= 2 * bounds.batch_bytes, "{waiting} bytes in a batch");
            }
            let all: Vec<_> = batches.try_iter().collect();
            assert_eq!(all.len(), bounds.max_batches, "{label}");
            let bytes: usize = all.iter().map(|batch| batch.bytes().len()).sum();
            assert!(
                bytes <= (bounds.max_batches + 1) * bounds.batch_bytes,
                "{label}: {bytes}"
            );
        }
    }
}
