//! The agent's folder for what must outlive it: one file, replaced whole, and a lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

const STATE: &str = "state.json";
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
    /// One save at a time: all go through the same new file.
    saving: Mutex<()>,
    _lock: File,
}

impl StateDir {
    /// Makes the folder if there is none, and locks it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Io {
            path: path.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join(LOCK))
            .map_err(failed)?;
        // Of the open file, so the kernel lets go of it however the process ends.
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                saving: Mutex::default(),
                _lock: lock,
            }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(StateError::InUse(path.to_owned())),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// What was saved last; `None` if nothing was. A file that cannot be read as a whole is set aside, and told of.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        let file = self.path.join(STATE);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { path: file, source }),
        };
        match serde_json::from_slice(&text) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                let seconds = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default()
                    .as_secs();
                let aside = self.path.join(format!("{STATE}.damaged-{seconds}"));
                fs::rename(&file, &aside).map_err(|source| StateError::Io { path: file, source })?;
                let aside = aside.display();
                warn!(%error, %aside, "the saved positions are damaged: set aside, and started without");
                Ok(None)
            }
        }
    }

    /// Replaces what was saved: after a crash at any moment there is the old or the new, whole.
    pub fn save(&self, state: &impl Serialize) -> io::Result<()> {
        let _one = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let new = self.path.join(format!("{STATE}.new"));
        let mut options = OpenOptions::new();
        let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(state)?)?;
        file.sync_data()?;
        fs::rename(&new, self.path.join(STATE))
    }
}

#[cfg(test)]
mod tests {
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
