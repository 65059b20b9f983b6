//! The agent's folder for what must outlive it: one file, replaced whole, and a lock.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat, renameat};
use rustix::io::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::{open_files, trusted};

const STATE: &str = "state.json";
const NEW: &str = "state.json.new";
const LOCK: &str = "lock";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It cannot be made, locked, read or written.
    #[error("cannot use state_dir {}: {source}", path.display())]
    Io {
        /// The folder, or the file in it.
        path: PathBuf,
        /// What the system has said.
        source: io::Error,
    },
    /// Another process has locked this folder.
    #[error("state_dir {} is in use by another agent; give each its own", .0.display())]
    InUse(PathBuf),
}

/// The folder, held by this process alone for as long as this lives.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// `None` until there is room for it on the disk. Also lets one save at a time through: all write the same new file.
    folder: Mutex<Option<Folder>>,
}

#[derive(Debug)]
struct Folder {
    handle: OwnedFd,
    _lock: File,
}

impl StateDir {
    /// Makes the folder if there is none, and locks it. Where the disk has no room for that, it is tried again by each
    /// [`StateDir::save`].
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let folder = match Folder::open(path) {
            Ok(folder) => Some(folder),
            Err(StateError::Io { source, .. }) if is_full(&source) => {
                let path = path.display();
                warn!(%path, %source, "state_dir cannot be made: started without what may have been saved");
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_owned(),
            folder: Mutex::new(folder),
        })
    }

    /// What was saved last; `None` if nothing was. A file that cannot be read as a whole is set aside, and told of.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        match self.lock().as_ref().map(Folder::load) {
            None => Ok(None),
            Some(loaded) => loaded.map_err(|source| StateError::Io {
                path: self.path.join(STATE),
                source,
            }),
        }
    }

    /// Replaces what was saved: after a crash at any moment there is the old or the new, whole.
    pub fn save(&self, state: &impl Serialize) -> io::Result<()> {
        let mut folder = self.lock();
        let folder = match &mut *folder {
            Some(folder) => folder,
            none => none.insert(Folder::open(&self.path).map_err(|error| match error {
                StateError::Io { source, .. } => source,
                in_use @ StateError::InUse(_) => io::Error::other(in_use),
            })?),
        };
        // Streams can have taken all other descriptors.
        open_files::with_reserve(|| folder.save(state))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Folder>> {
        self.folder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folder {
    fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Io {
            path: path.to_owned(),
            source,
        };
        let handle = trusted::own_folder(path).map_err(failed)?;
        let lock = file(&handle, LOCK, OFlags::WRONLY | OFlags::CREATE).map_err(failed)?;
        // The lock is the open file's, so the kernel lets go of it however the process ends.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { handle, _lock: lock }),
            Err(Errno::WOULDBLOCK) => Err(StateError::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    fn load<T: DeserializeOwned>(&self) -> io::Result<Option<T>> {
        let mut text = Vec::new();
        match file(&self.handle, STATE, OFlags::RDONLY) {
            Ok(mut file) => file.read_to_end(&mut text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice(&text) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                let aside = format!("{STATE}.damaged-{}", since.unwrap_or_default().as_secs());
                renameat(&self.handle, STATE, &self.handle, &aside)?;
                warn!(%error, aside, "the saved positions are damaged: set aside in state_dir, and started without");
                Ok(None)
            }
        }
    }

    fn save(&self, state: &impl Serialize) -> io::Result<()> {
        let mut file = file(&self.handle, NEW, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_data()?;
        Ok(renameat(&self.handle, NEW, &self.handle, STATE)?)
    }
}

/// Opens a file of the folder; not what a link there leads to.
fn file(folder: &OwnedFd, name: &str, flags: OFlags) -> io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(openat(folder, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, mode)?.into())
}

/// Whether room on the disk would mend it.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lc-state-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        path
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let path = scratch("saved");
        let state = StateDir::open(&path).unwrap();
        assert_eq!(state.load::<Vec<u32>>().unwrap(), None);
        state.save(&vec![1, 2]).unwrap();
        state.save(&vec![3]).unwrap();
        assert_eq!(state.load::<Vec<u32>>().unwrap(), Some(vec![3]));
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_second_agent_is_refused() {
        let path = scratch("second");
        let first = StateDir::open(&path).unwrap();
        assert!(matches!(StateDir::open(&path), Err(StateError::InUse(_))));
        drop(first);
        StateDir::open(&path).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let path = scratch("damaged");
        let state = StateDir::open(&path).unwrap();
        state.save(&vec![1, 2, 3]).unwrap();
        fs::write(path.join(STATE), b"[1, 2").unwrap();
        assert_eq!(state.load::<Vec<u32>>().unwrap(), None);
        let aside = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("damaged");
        let kept: Vec<_> = fs::read_dir(&path).unwrap().map(Result::unwrap).filter(aside).collect();
        assert_eq!(fs::read(kept[0].path()).unwrap(), b"[1, 2");
        state.save(&vec![4]).unwrap();
        assert_eq!(state.load::<Vec<u32>>().unwrap(), Some(vec![4]));
        fs::remove_dir_all(path).unwrap();
    }
}
