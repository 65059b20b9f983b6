//! Logs that are read from the files in which the engine's log drivers write them.
//!
//! | file | what is in it |
//! |---|---|
//! | `place` | where an engine keeps a container's log, and in which format |
//! | `chain` | a log's files, as the driver rotates them |
//! | `watcher` | when they are looked at |
//! | `shared` | what all open logs share |
//! | `stream` | an open log |

mod chain;
mod place;
mod shared;
mod stream;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use place::NotHere;
pub use stream::{EVIDENCE, FileStream};
pub use watcher::Watcher;

use self::place::Place;
use self::shared::{MOST_HELD, Shared};
use super::fault::Fault;
use super::mark::Mark;
use crate::record::{ContainerId, Time};

/// Opens logs by their files.
#[derive(Clone)]
pub struct Files(Arc<Shared>);

impl Files {
    /// `root`: where the engine's data root is mounted; empty where it is at its own path. `rests`: the thread rests between
    /// two looks, and calls [`Watcher::rested`] then.
    pub fn new(root: &Path, watcher: Watcher, max_line_bytes: usize, rests: bool) -> Self {
        let configured = !root.as_os_str().is_empty();
        Self(Arc::new(Shared {
            root: Mutex::new(configured.then(|| root.to_owned())),
            configured,
            watcher,
            max_line_bytes,
            rests,
            held: AtomicU64::new(0),
            most_held: MOST_HELD,
        }))
    }

    /// Whether the engine is to be asked for its data root.
    pub fn wants_root(&self) -> bool {
        !self.0.configured
    }

    /// The engine has named its data root.
    pub fn set_root(&self, root: PathBuf) {
        *self.0.root.lock().unwrap_or_else(PoisonError::into_inner) = Some(root);
    }

    /// Bytes on the disk that are there only because a log is open.
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Whether a container's log can be read from its files.
    pub fn find(&self, container: &ContainerId) -> Result<Found, NotHere> {
        let root = self.0.root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = Place::find(&root.ok_or(NotHere::NoRoot)?, container)?;
        // What cannot be opened is found out now. A log that was never written to is not there yet.
        match std::fs::File::open(place.path()) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(NotHere::Io {
                path: place.path(),
                source,
            }),
            _ => Ok(Found {
                place,
                shared: Arc::clone(&self.0),
            }),
        }
    }
}

/// A log that can be read from its files.
#[derive(Debug)]
pub struct Found {
    place: Place,
    shared: Arc<Shared>,
}

impl Found {
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// Opens it at a mark; where that is none of its files' any more, at the beginning of the oldest. Tells whether it is
    /// the beginning. Without a mark, files that were not written to since `floor` are left out.
    pub fn open(self, mark: Option<Mark>, floor: Option<Time>) -> Result<(FileStream, bool), Fault> {
        FileStream::open(self.place, self.shared, mark, floor)
    }
}
