//! A place in a log's files, from which reading can go on.
//!
//! A mark is a hint and no evidence: which lines were taken before is recognised by the lines themselves, in files as over
//! the API. So a mark may lie before the last line that was taken, and never behind it.

use std::fs::Metadata;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

/// A file, whatever its name is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

/// Bytes before the mark that tell whether a file is still the one that it was.
pub(super) const BEFORE: usize = 64;

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    file: Identity,
    offset: u64,
    /// The hash of up to [`BEFORE`] bytes before the offset: an inode's number can be another file's by now.
    before: u64,
}

impl Mark {
    /// At `offset` of a file, with the bytes that lie before it.
    pub fn new(file: Identity, offset: u64, before: &[u8]) -> Self {
        Self {
            file,
            offset,
            before: XxHash3_64::oneshot(before),
        }
    }

    /// The file that it is in.
    pub fn file(&self) -> Identity {
        self.file
    }

    /// Where in the file it is, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether the file has before the offset what it had.
    pub fn fits(&self, file: &std::fs::File) -> bool {
        let length = self.offset.min(BEFORE as u64);
        let mut before = [0; BEFORE];
        let before = &mut before[..length as usize];
        file.read_exact_at(before, self.offset - length).is_ok() && XxHash3_64::oneshot(before) == self.before
    }
}
