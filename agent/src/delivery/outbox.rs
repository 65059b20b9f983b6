//! Where records gather until a batch of them is handed to the sinks.
//!
//! A line is encoded once, from the read buffer straight into the batch that every sink
//! writes from. Each sink has a window of batches that it has not acknowledged yet. When the window of the slowest sink is
//! full there is no room, the streams stop reading, and the engine keeps the lines. Nothing is dropped.

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::sync::Notify;

use super::account::Account;
use super::batch::{Batch, Spares};
use super::intake::Intake;
use super::metrics::Metrics;
use super::shared::{Bounds, Desk, Shared, State, task};
use super::sink::Mark;
use super::window::Window;
use crate::encode::Tail;
use crate::record::{ContainerId, Line, Time};

/// Bytes of a log that are read at least. Fewer would be a system call for next to nothing.
const LEAST: usize = 256;

/// The one queue from the streams to all sinks. Its clones share it.
#[derive(Clone)]
pub struct Outbox {
    shared: Arc<Shared>,
}

impl Outbox {
    /// For the sinks of these names. The intakes are in their order.
    pub fn new(bounds: Bounds, sinks: impl IntoIterator<Item = String>) -> (Self, Vec<Intake>) {
        let desks = sinks.into_iter().map(|name| Desk::new(name, bounds.max_batches));
        let shared = Arc::new(Shared {
            bounds,
            desks: desks.collect(),
            spares: Spares::new(2 * bounds.batch_bytes),
            state: Mutex::default(),
            begun: Notify::new(),
        });
        let intakes = (0..shared.desks.len()).map(|sink| Intake::new(&shared, sink)).collect();
        (Self { shared }, intakes)
    }

    /// Ready when a log may be read. Gives how many bytes of it have room, where each becomes `growth` bytes of records at
    /// most.
    pub fn poll_room_for(&self, cx: &mut Context<'_>, growth: usize) -> Poll<usize> {
        let batch_bytes = self.shared.bounds.batch_bytes;
        let bytes = || (self.shared.free() * batch_bytes / growth).max(LEAST);
        self.poll_room(cx).map(|()| bytes())
    }

    /// Ready when another batch may be handed over.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_until(cx, Window::has_room)
    }

    /// Whether what one read brings may be pushed now.
    pub fn has_room(&self) -> bool {
        self.shared.all(Window::has_room)
    }

    /// Ready when `holds` is true of every sink's window; looked at again each time that a sink has got on.
    fn poll_until(&self, cx: &mut Context<'_>, holds: impl Fn(&Window) -> bool) -> Poll<()> {
        if self.shared.all(&holds) {
            return Poll::Ready(());
        }
        let mut state = self.shared.lock();
        // Once more: a sink that gets on from here on finds the waker.
        if self.shared.all(holds) {
            return Poll::Ready(());
        }
        let waker = cx.waker();
        state.waiting.entry(task(waker)).or_insert_with(|| waker.clone());
        Poll::Pending
    }

    /// Hands over what has gathered, and waits until every sink has acknowledged it and all before. `at_seal` is called
    /// at the moment of the handing over: what it sees is what will have been acknowledged. `None` when a sink has
    /// gone, and never will; else also what each sink says of itself as of then. For one caller at a time.
    pub async fn barrier<T>(&self, at_seal: impl FnOnce() -> T) -> Option<(T, Vec<Saved>)> {
        poll_fn(|cx| self.poll_room(cx)).await;
        self.seal(&mut self.shared.lock());
        let seen = at_seal();
        let ticket = self.ask_for_marks();
        poll_fn(|cx| self.poll_until(cx, |window| window.is_settled(ticket))).await;
        if !self.shared.all(|window| !window.has_left()) {
            return None;
        }
        let saved = |desk: &Desk| {
            let mut window = desk.window();
            Saved {
                sink: desk.name.clone(),
                mark: window.take_mark(),
                account: window.take_to_save(),
            }
        };
        Some((seen, self.shared.desks.iter().map(saved).collect()))
    }

    /// Records that the sinks have delivered or dropped, in all: whether that has changed tells whether the accounts have.
    pub fn settled(&self) -> u64 {
        self.shared.desks.iter().map(|desk| desk.window().settled()).sum()
    }

    /// Each sink's account, with what has gathered and is not handed over.
    pub fn accounts(&self) -> Vec<SinkAccount> {
        let state = self.shared.lock();
        let account = |desk: &Desk| {
            let window = desk.window();
            let (mut account, is_right) = window.account_now();
            let drift = drift(&window, &state);
            account.give(&state.records);
            SinkAccount {
                sink: desk.name.clone(),
                drift,
                is_right,
                account,
            }
        };
        self.shared.desks.iter().map(account).collect()
    }

    /// Whether lines of a container are neither delivered nor dropped nor dead, at any sink.
    pub fn has_open(&self, container: &ContainerId) -> bool {
        let is_open = |desk: &Desk| desk.window().account().has_open(container);
        self.shared.desks.iter().any(is_open) || self.is_gathering(container)
    }

    /// Whether lines of a container are not handed over to the sinks yet.
    pub fn is_gathering(&self, container: &ContainerId) -> bool {
        let records = &self.shared.lock().records;
        let mut found = false;
        records.lines_of(0..records.len(), |id, _| found |= id == container);
        found
    }

    /// A container is not told of by itself any more in the accounts.
    pub fn merge(&self, container: &ContainerId) {
        for desk in &self.shared.desks {
            desk.window().account().merge(container);
        }
    }

    fn ask_for_marks(&self) -> u64 {
        let mut state = self.shared.lock();
        state.asked += 1;
        for desk in &self.shared.desks {
            desk.window().ask(state.asked);
            desk.ring();
        }
        state.asked
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
        let State {
            encoder,
            records,
            pushed,
            ..
        } = &mut *state;
        records.push(encoder, line, lines, tail);
        *pushed += 1;
        if records.len() == 1 {
            self.shared.begun.notify_one();
        }
        if records.text().len() >= self.shared.bounds.batch_bytes {
            self.seal(&mut state);
        }
    }

    /// Hands over what has gathered: at once where the sinks have nothing to do, so that a lone line does not wait, and
    /// while they have, when it is old enough and there is room. Runs for as long as the agent does.
    pub async fn flush(&self) {
        loop {
            self.shared.begun.notified().await;
            let idle = poll_fn(|cx| self.poll_until(cx, Window::is_idle));
            // An error is that it is old enough.
            let _ = tokio::time::timeout(self.shared.bounds.flush_interval, idle).await;
            poll_fn(|cx| self.poll_room(cx)).await;
            self.seal(&mut self.shared.lock());
        }
    }

    /// Brings the gauges up to date that tell of what waits.
    pub fn observe(&self, metrics: &Metrics) {
        let state = self.shared.lock();
        let now = Time::now();
        let age = |time: Option<Time>| time.map_or(0.0, |time| (now.as_seconds() - time.as_seconds()).max(0.0));
        let (mut on_disk, mut oldest_on_disk) = (0, 0.0_f64);
        for desk in &self.shared.desks {
            let (drift, spooled, (held, oldest)) = {
                let window = desk.window();
                (drift(&window, &state), window.spooled(), window.held())
            };
            let waiting = held + state.records.len();
            let oldest = spooled.oldest.or(oldest).or(state.records.first_time());
            let sink = [&desk.name];
            metrics.waiting.with_label_values(&sink).set(waiting as i64);
            metrics.lag.with_label_values(&sink).set(age(oldest));
            metrics
                .spool
                .lines
                .with_label_values(&sink)
                .set(spooled.waiting() as i64);
            on_disk += spooled.bytes;
            oldest_on_disk = oldest_on_disk.max(age(spooled.oldest));
            metrics.drift.with_label_values(&sink).set(drift);
        }
        metrics.spool.bytes.set(on_disk as i64);
        metrics.spool.oldest.set(oldest_on_disk);
    }

    /// Lets every sink open anew what it writes to, before it goes on.
    pub fn reopen(&self) {
        for desk in &self.shared.desks {
            desk.window().reopen();
            desk.ring();
        }
    }

    /// Hands over the rest, and tells the sinks that nothing more comes. Waits for room.
    pub async fn close(&self) {
        poll_fn(|cx| self.poll_room(cx)).await;
        self.seal(&mut self.shared.lock());
        for desk in &self.shared.desks {
            desk.window().close();
            desk.ring();
        }
    }

    /// Without room the batch goes on growing, by no more than the read that filled it.
    fn seal(&self, state: &mut State) {
        if state.records.is_empty() || !self.has_room() {
            return;
        }
        state.sealed += 1;
        let records = std::mem::replace(&mut state.records, self.shared.spares.take());
        let batch = Arc::new(Batch::new(state.sealed, records, &self.shared.spares));
        for desk in &self.shared.desks {
            desk.window().give(&batch);
            desk.ring();
        }
    }
}

/// What a sink says of itself, as of a barrier.
#[derive(Debug)]
pub struct Saved {
    /// The sink's name.
    pub sink: String,
    /// How far it has got, if it can tell after a crash what it got behind that.
    pub mark: Option<Mark>,
    /// What has become of the lines up to there.
    pub account: Account,
}

/// A sink's account now.
#[derive(Debug)]
pub struct SinkAccount {
    /// The sink's name.
    pub sink: String,
    /// Records that were made for it, less all that is known of them: 0 is right.
    pub drift: i64,
    /// Whether the account says of what waits what the window says.
    pub is_right: bool,
    /// By container.
    pub account: Account,
}

/// Records that were made for a sink or were in its spool at the start, less those that are settled, spooled or waiting.
fn drift(window: &Window, state: &State) -> i64 {
    let waiting = window.held().0 + state.records.len();
    let had = state.pushed + window.inherited();
    had.cast_signed() - window.settled().cast_signed() - window.spooled().waiting().cast_signed() - waiting as i64
}

#[cfg(test)]
mod tests;
