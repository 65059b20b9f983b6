//! A file of a log that is open: plain, or compressed by the driver.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use flate2::read::GzDecoder;

use super::super::mark::Identity;
use super::chain::{self, Listed};

/// So many bytes of a file tell it from the log's others.
const BEGINNING: usize = 512;

#[derive(Debug)]
pub(super) struct Open {
    pub file: File,
    pub identity: Identity,
    pub packed: Option<Box<Packed>>,
}

/// A compressed file, with what has been unpacked of it and not been taken.
pub(super) struct Packed {
    decoder: GzDecoder<File>,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("bytes", &self.bytes.len()).finish()
    }
}

impl Open {
    pub(super) fn new(file: File, listed: &Listed) -> Self {
        let packed = listed.compressed.then(|| file.try_clone().ok()).flatten().map(|file| {
            Box::new(Packed {
                decoder: GzDecoder::new(file),
                bytes: Vec::new(),
            })
        });
        Self {
            file,
            identity: listed.identity,
            packed,
        }
    }

    /// Bytes that are on the disk only because it is open.
    pub(super) fn held(&self) -> u64 {
        self.file
            .metadata()
            .ok()
            .filter(|metadata| metadata.nlink() == 0)
            .map_or(0, |metadata| metadata.blocks() * 512)
    }
}

impl Packed {
    /// Fills `buffer` behind `before`, as a read of a plain file does.
    pub(super) fn fill(&mut self, buffer: &mut [u8], before: &[u8]) -> io::Result<usize> {
        buffer[..before.len()].copy_from_slice(before);
        let mut filled = before.len();
        let given = self.bytes.len().min(buffer.len() - filled);
        buffer[filled..filled + given].copy_from_slice(&self.bytes[..given]);
        self.bytes.drain(..given);
        filled += given;
        while filled < buffer.len() {
            match self.decoder.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// What was not taken comes first at the next read.
    pub(super) fn give_back(&mut self, bytes: &[u8]) {
        let rest = std::mem::replace(&mut self.bytes, bytes.to_vec());
        self.bytes.extend_from_slice(&rest);
    }
}

/// When a file was written to for the last time, in nanoseconds since 1970-01-01T00:00:00Z.
pub(super) fn written(file: &File) -> io::Result<i64> {
    let metadata = file.metadata()?;
    Ok(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec())
}

/// Whether a compressed file is made of this one. Both begin with a record whose time has nanoseconds.
pub(super) fn is_packed_from(listed: &Listed, file: &File) -> bool {
    let mut wanted = [0; BEGINNING];
    let Ok(length) = file.read_at(&mut wanted, 0) else {
        return false;
    };
    let Ok(Some(packed)) = chain::open(listed) else {
        return false;
    };
    let mut found = [0; BEGINNING];
    let same = GzDecoder::new(packed).read_exact(&mut found[..length]);
    length > 0 && same.is_ok() && found[..length] == wanted[..length]
}
