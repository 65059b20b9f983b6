//! A file of a log that is open: plain, or compressed by the driver.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;

use flate2::read::GzDecoder;

use super::super::mark::Identity;
use super::chain::Listed;
use crate::record::Time;

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

/// Whether a file was begun after the moment at which another one was written to for the last time.
pub(super) fn is_newer(file: &Listed, written: i64) -> bool {
    if file.compressed {
        return last_time(file).is_some_and(|last| last.0 > written);
    }
    file.born().is_some_and(|born| born >= written)
}

/// The time of a compressed file's last record, which the driver notes in the header (moby, `loggerutils`,
/// `rotateFileMetadata`).
fn last_time(file: &Listed) -> Option<Time> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        #[serde(rename = "lastTime")]
        last_time: String,
    }
    let decoder = GzDecoder::new(File::open(&file.path).ok()?);
    let extra = decoder.header()?.extra()?;
    let Metadata { last_time } = serde_json::from_slice(extra).ok()?;
    let time: jiff::Timestamp = last_time.parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok().map(Time)
}
