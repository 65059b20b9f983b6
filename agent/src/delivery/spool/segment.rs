//! A file of frames, one behind the other. What is not sound is stepped over.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;
use rustix::io::Errno;

use super::frame::{HEADER, Header, MAGIC};

/// Bytes that are looked through at once for the next frame.
const BLOCK: usize = 64 << 10;

/// What is at a place of a segment.
pub(super) enum Found {
    /// A header that is sound, and a payload that may not be.
    Frame(Header, Vec<u8>),
    /// No frame: it was damaged.
    Unsound,
    /// No frame, and none behind it.
    Torn,
}

/// Looks at what is at `at` of a segment that ends at `end`, and tells where to go on. That is always further on.
pub(super) fn step(file: &File, at: u64, end: u64) -> io::Result<(Found, u64)> {
    let found = frame(file, at, end).and_then(|frame| match frame {
        Some((header, payload)) => Ok((Found::Frame(header, payload), at + header.size())),
        None => Ok(match next(file, at + 1, end)? {
            Some(next) => (Found::Unsound, next),
            None => (Found::Torn, end),
        }),
    });
    match found {
        // It was cut off, or the disk cannot read it any more: nothing else will ever be there.
        Err(error) if is_lost(&error) => Ok((Found::Torn, end)),
        found => found,
    }
}

/// The header at `at`, if there is a sound one of a frame that fits.
pub(super) fn header(file: &File, at: u64, end: u64) -> io::Result<Option<Header>> {
    if at + HEADER as u64 > end {
        return Ok(None);
    }
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, at)?;
    Ok(Header::from_bytes(&bytes).filter(|header| at + header.size() <= end))
}

fn frame(file: &File, at: u64, end: u64) -> io::Result<Option<(Header, Vec<u8>)>> {
    let Some(header) = header(file, at, end)? else {
        return Ok(None);
    };
    let mut payload = vec![0; header.length as usize];
    file.read_exact_at(&mut payload, at + HEADER as u64)?;
    Ok(Some((header, payload)))
}

/// Where the next sound header is.
fn next(file: &File, mut from: u64, end: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; BLOCK.min(end.saturating_sub(from) as usize)];
    while from + HEADER as u64 <= end {
        let length = block.len().min((end - from) as usize);
        file.read_exact_at(&mut block[..length], from)?;
        for at in memmem::find_iter(&block[..length], &MAGIC) {
            let at = from + at as u64;
            if header(file, at, end)?.is_some() {
                return Ok(Some(at));
            }
        }
        // One can begin in this block and end in the next.
        from += (length - (MAGIC.len() - 1)) as u64;
    }
    Ok(None)
}

fn is_lost(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(Errno::IO.raw_os_error())
}
