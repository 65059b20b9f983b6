//! Says who opens a connection: set in memory that the programs read, around `connect`, on the same thread.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

pub use abi::Mark;
use abi::Marker;

use super::mapped::Writable;
use super::refusal::Refusal;
use super::{Connection, Kernel};
use crate::record::ContainerId;
use crate::register::{OnConnect, Opening, Site};

thread_local! {
    /// This thread's outermost id, which only the kernel half can tell (a pid namespace has others); 0: not asked yet.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The one cell that all threads share: it is locked for as long as a mark is set.
pub struct Marks(Mutex<Writable<Marker>>);

impl Marks {
    pub fn new(cell: Writable<Marker>) -> Self {
        Self(Mutex::new(cell))
    }

    /// Runs `connect`; the connections that it opens bear the mark. `ask` runs the program `whoami` on this thread.
    pub fn around<T>(
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

impl OnConnect for Kernel {
    fn around(&self, opening: &Opening, connect: &mut dyn FnMut()) {
        if let Err(error) = self.marked(mark(opening), &mut *connect) {
            tracing::warn!(%error, "the kernel part is not told who opens a connection");
            connect();
        }
    }
}

fn mark(opening: &Opening) -> Mark {
    let mut mark = Mark {
        site: Site::ALL
            .iter()
            .position(|&site| site == opening.site)
            .map_or(0, |index| index as u32 + 1),
        ..Mark::default()
    };
    let bytes = opening.container.as_ref().and_then(|id| bytes_of(id.as_str()));
    if let Some(tag) = bytes {
        mark.len = tag.len() as u32;
        mark.tag = tag;
    }
    mark
}

impl Connection {
    /// Who opened it, by its mark: the kernel part knows it longer than the register does.
    pub fn opening(&self) -> Option<Opening> {
        opening(&self.mark)
    }
}

fn opening(mark: &Mark) -> Option<Opening> {
    let site = *Site::ALL.get((mark.site as usize).checked_sub(1)?)?;
    let container = (mark.len as usize == mark.tag.len()).then(|| {
        let id: String = mark.tag.iter().map(|byte| format!("{byte:02x}")).collect();
        ContainerId::new(&id)
    });
    Some(Opening { site, container })
}

/// 64 hexadecimal digits.
fn bytes_of(id: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if id.len() != 2 * bytes.len() || !id.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&id[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_survives_its_mark() {
        let id = "0123456789abcdef".repeat(4);
        for site in Site::ALL {
            for container in [None, Some(ContainerId::new(&id))] {
                let given = Opening { site, container };
                let read = opening(&mark(&given)).expect("a mark");
                assert_eq!((read.site, read.container), (given.site, given.container));
            }
        }
        assert!(opening(&Mark::default()).is_none());
    }
}
