//! Where a file ends that a sink writes: what a checkpoint keeps of it.

use std::io;
use std::sync::Arc;

use rustix::fs::fdatasync;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// How far a file was written, and which file it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FileEnd {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) length: u64,
    /// For the process that wrote it.
    #[serde(skip)]
    pub(super) file: Option<Arc<std::fs::File>>,
}

impl FileEnd {
    /// Waits until a power loss would not take away what was written up to here. By another thread than the sink's.
    pub fn sync(&self) -> io::Result<()> {
        match self.file.as_ref().map(fdatasync) {
            // Not a file after all: a pipe, or /dev/null.
            None | Some(Ok(()) | Err(Errno::INVAL)) => Ok(()),
            Some(Err(error)) => Err(error.into()),
        }
    }
}
