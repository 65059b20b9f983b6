//! A file that records are appended to.
//!
//! Others may do with it what they like: rename it, delete it, truncate it, fill the disk. So nothing is concluded from what
//! was written: how long the file is, is asked of the file, and whether it is still the path's, of the path.

mod open;
mod recovery;

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::open::{Lost, Open};
use super::{Durable as _, Mark, Recovered, Sink};

/// How often the path is compared with what is open.
const LOOK: Duration = Duration::from_secs(1);

/// Appends to a file, and opens a new one at its path if that was moved away.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// Whether bytes can be the start of a record that was only begun.
    is_begun: fn(&[u8]) -> bool,
    /// When the path was last compared with what is open.
    looked: Instant,
    open: Arc<Open>,
}

impl File {
    /// `is_begun` is asked about what is behind the last whole record: whether it can be the start of another.
    pub fn open(path: &Path, is_begun: fn(&[u8]) -> bool) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            is_begun,
            looked: Instant::now(),
            open: Open::at(path)?,
        })
    }

    /// Opens the file at the path anew where it is another by now: it was renamed, or deleted. Tells whether it was.
    fn follow_path(&mut self) -> io::Result<bool> {
        let is_same = std::fs::metadata(&self.path).is_ok_and(|now| self.open.is(now.dev(), now.ino()));
        if !is_same {
            if !self.open.is_deleted()? {
                // No later mark tells of it.
                self.open.sync()?;
            }
            self.open = Open::at(&self.path)?;
        }
        self.looked = Instant::now();
        Ok(!is_same)
    }
}

impl Sink for File {
    fn begin(&mut self) -> io::Result<()> {
        if self.looked.elapsed() >= LOOK {
            self.follow_path()?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.open.file).write(bytes)
    }

    /// A disk that is full is given room by deleting or renaming files, this one perhaps: then the batch goes on in a new one.
    /// No record is split between two files.
    fn resume(&mut self, batch: &[u8], written: usize) -> io::Result<usize> {
        let old = Arc::clone(&self.open);
        let has_moved = self.follow_path()?;
        if has_moved && old.is_deleted()? {
            return Ok(0);
        }
        let whole = memchr::memrchr(b'\n', &batch[..written]).map_or(0, |at| at + 1);
        let begun = &batch[whole..written];
        // Where it is not, the file was truncated in between.
        let is_there = old.ends_with(begun)?;
        if is_there && !has_moved {
            return Ok(written);
        }
        if is_there {
            // What is renamed ends in a whole record, if the disk allows.
            let _ = old.shorten(begun.len() as u64);
        }
        Ok(whole)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.follow_path().map(drop)
    }

    /// A full disk can get room again. One that has lost something does not bring it back.
    fn is_fatal(&self, error: &io::Error) -> bool {
        Lost::is(error)
    }

    fn mark(&mut self) -> io::Result<Option<Mark>> {
        recovery::mark(&self.path, &self.open)
    }

    fn recover(&mut self, from: Option<&Value>, record: &mut dyn FnMut(Recovered<'_>)) -> io::Result<()> {
        recovery::recover(&self.path, &self.open, from, record)?;
        recovery::end_whole(&self.open, self.is_begun)
    }
}

#[cfg(test)]
mod tests;
