//! Logs that are read from the files in which the engine's log drivers write them.
//!
//! | file | what is in it |
//! |---|---|
//! | `place` | where an engine keeps a container's log, and in which format |
//! | `chain` | a log's files, as the driver rotates them |
//! | `opened` | one of them that is open |
//! | `shared` | what all open logs have in common |
//! | `watcher` | when they are looked at |
//! | `stream` | an open log |

mod chain;
mod opened;
mod place;
mod shared;
mod stream;
mod watcher;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

pub use place::NotHere;
pub use stream::{EVIDENCE, FileStream};
pub use watcher::Watcher;

use self::place::Place;
use self::shared::Shared;
use super::fault::Fault;
use super::mark::Mark;
use crate::record::{ContainerId, Time};

/// Most bytes that may be on the disk only because the agent has not read them yet. What is more is given up, and counted.
const MOST_HELD: u64 = 1 << 30;

/// Opens logs by their files.
#[derive(Clone)]
pub struct Files(Arc<Shared>);

impl Files {
    /// `root`: where the engine's data root is mounted; empty where it is at its own path. `rests`: the thread rests between
    /// two looks, and calls [`Watcher::rested`] then.
    pub fn new(root: &Path, watcher: Watcher, max_line_bytes: usize, rests: bool) -> Self {
        let configured = !root.as_os_str().is_empty();
        let root = configured.then(|| root.to_owned());
        Self(Arc::new(Shared::new(root, watcher, max_line_bytes, rests, MOST_HELD)))
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
        self.0.held()
    }

    /// Whether a container's log can be read from its files.
    pub fn find(&self, container: &ContainerId) -> Result<Found, NotHere> {
        let root = self.0.root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let place = readable(&root.ok_or(NotHere::NoRoot)?, container)?;
        Ok(Found {
            place,
            shared: Arc::clone(&self.0),
        })
    }
}

/// The file that a container's log is written to, below the engine's data root, if this process can read it.
pub fn path_of(root: &Path, container: &ContainerId) -> Result<PathBuf, NotHere> {
    Ok(readable(root, container)?.path())
}

fn readable(root: &Path, container: &ContainerId) -> Result<Place, NotHere> {
    let place = Place::find(root, container)?;
    // What cannot be opened is found out now. A log that was never written to is not there yet.
    match std::fs::File::open(place.path()) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(NotHere::Io {
            path: place.path(),
            source,
        }),
        _ => Ok(place),
    }
}

/// A log that can be read from its files.
#[derive(Debug)]
pub struct Found {
    place: Place,
    shared: Arc<Shared>,
}

impl Found {
    /// The file that is written to now.
    pub fn path(&self) -> PathBuf {
        self.place.path()
    }

    /// Opens it at a mark; where that is none of its files' any more, at the beginning of the oldest. Tells whether it is
    /// the beginning. Without a mark, files that were not written to since `floor` are left out.
    pub fn open(self, mark: Option<Mark>, floor: Option<Time>) -> Result<(FileStream, bool), Fault> {
        FileStream::open(self.place, self.shared, mark, floor)
    }
}
