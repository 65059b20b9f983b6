//! The folder of one spool, and the names in it.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, openat, renameat, unlinkat};

use crate::{open_files, trusted};

const CURSOR: &str = "cursor";
const SEGMENT: &str = ".segment";
/// The last segment that was not sound.
const ASIDE: &str = "damaged";

/// Streams can have taken all other descriptors: the reserve is for such as this.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

impl Folder {
    /// Made where it is missing.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = || Ok(openat(trusted::own_folder(path)?, ".", flags, Mode::empty())?);
        open_files::with_reserve(open).map(Self)
    }

    /// The segments, each by the number of its first record, in order.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .to_str()
                .ok()
                .and_then(|name| name.strip_suffix(SEGMENT));
            found.extend(name.and_then(|name| name.parse::<u64>().ok()));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A new and empty segment.
    pub(super) fn create(&self, segment: u64) -> io::Result<File> {
        let file = self.file(&name(segment), OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC)?;
        // Its name can be lost, too.
        fsync(&self.0)?;
        Ok(file)
    }

    pub(super) fn read(&self, segment: u64) -> io::Result<File> {
        self.file(&name(segment), OFlags::RDONLY)
    }

    pub(super) fn remove(&self, segment: u64) -> io::Result<()> {
        Ok(unlinkat(&self.0, name(segment), AtFlags::empty())?)
    }

    /// Keeps it under another name, in place of the one before.
    pub(super) fn set_aside(&self, segment: u64) -> io::Result<()> {
        Ok(renameat(&self.0, name(segment), &self.0, ASIDE)?)
    }

    pub(super) fn cursor(&self) -> io::Result<File> {
        self.file(CURSOR, OFlags::RDWR | OFlags::CREATE)
    }

    fn file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        let (flags, mode) = (flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
        open_files::with_reserve(|| Ok(openat(&self.0, name, flags, mode)?.into()))
    }
}

fn name(segment: u64) -> String {
    format!("{segment:020}{SEGMENT}")
}
