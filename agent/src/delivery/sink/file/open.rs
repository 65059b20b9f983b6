//! An open file, and what is asked of it.

use std::error::Error;
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::fdatasync;
use rustix::io::Errno;

use super::super::Durable;
use crate::trusted;

#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: std::fs::File,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// `fdatasync` has failed.
    lost: AtomicBool,
}

/// The disk has not taken what was written.
#[derive(Debug)]
pub(super) struct Lost(Option<Errno>);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the disk may have lost what was written since the last checkpoint")?;
        self.0.map_or(Ok(()), |error| write!(f, " ({error})"))
    }
}

impl Error for Lost {}

impl Lost {
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Open {
    /// For appending. Logs can hold secrets: a new file is its owner's alone.
    pub(super) fn at(path: &Path) -> io::Result<Arc<Self>> {
        let open = Self::of(trusted::append(path)?)?;
        if open.metadata()?.len() == 0
            && let Some(folder) = path.parent()
        {
            // A new file's name can be lost, too. Where a folder cannot be synchronised, nobody can help it.
            let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(Arc::new(open))
    }

    pub(super) fn of(file: std::fs::File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
            lost: AtomicBool::new(false),
        })
    }

    /// Fails once the disk has lost something.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(io::Error::other(Lost(None)));
        }
        Ok(())
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    pub(super) fn is(&self, device: u64, inode: u64) -> bool {
        (self.device, self.inode) == (device, inode)
    }

    pub(super) fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.metadata()?.nlink() == 0)
    }

    /// Whether these are its last bytes. What is no file to be read has no end that could differ.
    pub(super) fn ends_with(&self, bytes: &[u8]) -> io::Result<bool> {
        let metadata = self.metadata()?;
        if bytes.is_empty() || !metadata.is_file() {
            return Ok(true);
        }
        let Some(start) = metadata.len().checked_sub(bytes.len() as u64) else {
            return Ok(false);
        };
        let mut last = vec![0; bytes.len()];
        self.file.read_exact_at(&mut last, start)?;
        Ok(last == bytes)
    }

    /// Takes so many bytes from its end.
    pub(super) fn shorten(&self, bytes: u64) -> io::Result<()> {
        let metadata = self.metadata()?;
        if bytes > 0 && metadata.is_file() {
            self.file.set_len(metadata.len().saturating_sub(bytes))?;
        }
        Ok(())
    }
}

impl Durable for Open {
    /// After a failure the kernel drops what it could not write, and calls the next attempt a success. So none is made.
    fn sync(&self) -> io::Result<()> {
        self.check()?;
        match fdatasync(&self.file) {
            // Not a file after all: a pipe, or /dev/null.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => {
                self.lost.store(true, Ordering::Relaxed);
                Err(io::Error::other(Lost(Some(error))))
            }
        }
    }
}
