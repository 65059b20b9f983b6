//! A sink's end of the outbox: what it is to deliver, and its receipt for that.
//!
//! A sink that blocks has a thread of its own, which waits with [`Intake::wait`]. A sink that does not block is a task, and
//! waits with [`Intake::next`].

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::account::{Account, Outcome};
use super::batch::{Batch, Records};
use super::shared::{Desk, Shared};
use super::sink::Mark;
use super::window::{Next, Order, Ticket};

/// Owned by whoever drives a sink. When it is dropped, the sink has gone.
pub struct Intake {
    shared: Arc<Shared>,
    sink: usize,
    /// Wakes the thread that waits.
    waker: Option<Waker>,
}

impl Intake {
    pub(super) fn new(shared: &Arc<Shared>, sink: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            sink,
            waker: None,
        }
    }

    /// What it shares with the outbox, and which sink's it is.
    pub(super) fn place(&self) -> (Arc<Shared>, usize) {
        (Arc::clone(&self.shared), self.sink)
    }

    pub(super) fn desk(&self) -> &Desk {
        self.shared.desk(self.sink)
    }

    /// The sink's name.
    pub fn name(&self) -> &str {
        &self.desk().name
    }

    /// What is to be done next; `None` when there will be nothing more.
    pub async fn next(&mut self) -> Option<Order> {
        loop {
            match self.desk().window().next() {
                Next::Order(order) => return Some(order),
                Next::End => return None,
                Next::Nothing => {}
            }
            self.desk().bell.notified().await;
        }
    }

    /// The same for a thread.
    pub fn wait(&mut self) -> Option<Order> {
        let waker = self
            .waker
            .get_or_insert_with(|| Waker::from(Arc::new(Unpark(std::thread::current()))));
        let waker = waker.clone();
        let mut next = pin!(self.next());
        loop {
            match next.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(order) => return order,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// The sink has delivered this batch, and all before it.
    pub fn acknowledge(&self, batch: Arc<Batch>) {
        let number = batch.number();
        // First: whoever sees room must not need more memory for it.
        drop(batch);
        self.desk().window().deliver(number);
        self.shared.wake();
    }

    /// This has become of the records of these numbers, and is counted. Told before their batch is acknowledged.
    pub fn settled(&self, batch: &Records, numbers: impl IntoIterator<Item = usize>, outcome: Outcome) {
        self.desk().window().settle(batch, numbers, outcome);
    }

    /// Goes on with the account that was saved.
    pub fn restore(&self, account: Account) {
        self.desk().window().restore(account);
    }

    /// Answers [`Order::Mark`].
    pub fn tell(&mut self, ticket: Ticket, mark: Option<Mark>) {
        self.desk().window().answer(ticket, mark);
        self.shared.wake();
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // The batches end without the lock.
        let left = self.desk().window().leave();
        drop(left);
        self.shared.wake();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
