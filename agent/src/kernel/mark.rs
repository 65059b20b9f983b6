//! Says who opens a connection: set in memory that the programs read, around `connect`, on the same thread.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

pub(super) use abi::Mark;
use abi::Marker;

use super::mapped::Writable;
use super::refusal::Refusal;

thread_local! {
    /// This thread's outermost id, which only the kernel half can tell (a pid namespace has others); 0: not asked yet.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The one cell that all threads share: it is locked for as long as a mark is set.
pub(super) struct Marks(Mutex<Writable<Marker>>);

impl Marks {
    pub(super) fn new(cell: Writable<Marker>) -> Self {
        Self(Mutex::new(cell))
    }

    /// Runs `connect`; the connections that it opens bear the mark. `ask` runs the program `whoami` on this thread.
    pub(super) fn around<T>(
        &self,
        mark: Mark,
        ask: impl FnOnce() -> Result<(), Refusal>,
        connect: impl FnOnce() -> T,
    ) -> Result<T, Refusal> {
        let cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if THREAD.get() == 0 {
            ask()?;
            THREAD.set(cell.get(0).unwrap_or_default().asked);
        }
        let _unset = Unset(&cell);
        cell.set(
            0,
            Marker {
                thread: THREAD.get(),
                asked: 0,
                mark,
            },
        );
        Ok(connect())
    }
}

/// Takes the mark away, also when `connect` panics.
struct Unset<'a>(&'a Writable<Marker>);

impl Drop for Unset<'_> {
    fn drop(&mut self) {
        self.0.set(0, Marker::default());
    }
}
