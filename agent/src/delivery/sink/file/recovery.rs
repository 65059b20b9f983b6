//! What a file tells after a crash: which records it got behind a mark.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::info;
use twox_hash::XxHash3_64;

use super::super::{Mark, Recovered};
use super::open::Open;

/// Bytes of a begun record that tell whose it is.
const BEGUN: u64 = 16;
/// Bytes before a mark by which it is known again: more than a record without its labels.
const EVIDENCE: u64 = 4096;
/// Names that are looked at for a file that was renamed.
const MOST_NAMES: usize = 10_000;

/// How far a file was written, and which file it was.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    path: String,
    device: u64,
    inode: u64,
    length: u64,
    /// The fingerprint of what is before: a file that was truncated can have grown to that length again.
    print: u64,
}

/// `None` for what is no file.
pub(super) fn mark(path: &Path, open: &Arc<Open>) -> io::Result<Option<Mark>> {
    open.check()?;
    let metadata = open.metadata()?;
    if !metadata.is_file() {
        return Ok(None);
    }
    // By another program it can have been truncated since the last write, or written to.
    let length = metadata.len();
    let end = End {
        path: path.to_string_lossy().into_owned(),
        device: open.device,
        inode: open.inode,
        length,
        print: print(open, length)?,
    };
    let written: Arc<Open> = Arc::clone(open);
    Ok(Some(Mark {
        saved: serde_json::to_value(end)?,
        had: Value::Null,
        written: Some(written),
    }))
}

fn print(open: &Open, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(EVIDENCE);
    let mut evidence = vec![0; (length - start) as usize];
    match open.file.read_exact_at(&mut evidence, start) {
        // Truncated at this very moment: the mark will not be known again, and the file is read from its beginning.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
        read => read.map(|()| XxHash3_64::oneshot(&evidence)),
    }
}

/// Lends every whole record that was written behind the mark `from`.
pub(super) fn recover(
    path: &Path,
    open: &Open,
    from: Option<&Value>,
    record: &mut dyn FnMut(Recovered<'_>),
) -> io::Result<()> {
    let Some(end) = from.and_then(|from| End::deserialize(from).ok()) else {
        return Ok(());
    };
    if !open.metadata()?.is_file() {
        return Ok(());
    }
    let mut records = 0_u64;
    let mut record = |recovered: Recovered<'_>| {
        records += 1;
        record(recovered);
    };
    if open.is(end.device, end.inode) {
        read_on(open, end.behind(open)?, &mut record)?;
    } else if Path::new(&end.path) == path {
        // It was renamed, and what is at its path was begun since.
        let renamed = end.find_beside(path)?;
        if let Some(renamed) = &renamed {
            read_on(renamed, end.behind(renamed)?, &mut record)?;
        }
        let start = Start {
            offset: 0,
            after_hole: renamed.is_none(),
        };
        read_on(open, start, &mut record)?;
    }
    if records > 0 {
        info!(file = %path.display(), records, "continued from what the file has beyond the last checkpoint");
    }
    Ok(())
}

/// Where what is unknown begins.
#[derive(Clone, Copy)]
struct Start {
    offset: u64,
    after_hole: bool,
}

impl End {
    /// What was written later: all of it, where the file was truncated since.
    fn behind(&self, open: &Open) -> io::Result<Start> {
        let is_there = self.length <= open.metadata()?.len() && print(open, self.length)? == self.print;
        Ok(Start {
            offset: if is_there { self.length } else { 0 },
            after_hole: !is_there,
        })
    }

    /// The file under another name in the same folder.
    fn find_beside(&self, path: &Path) -> io::Result<Option<Open>> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        for entry in fs::read_dir(folder)?.take(MOST_NAMES).flatten() {
            if entry.ino() != self.inode {
                continue;
            }
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
            let mut options = fs::OpenOptions::new();
            let file = options.read(true).custom_flags(flags as i32).open(entry.path())?;
            let metadata = file.metadata()?;
            if metadata.is_file() && (metadata.dev(), metadata.ino()) == (self.device, self.inode) {
                return Open::of(file).map(Some);
            }
        }
        Ok(None)
    }
}

/// Lends the whole records from there to the end.
fn read_on(open: &Open, start: Start, record: &mut dyn FnMut(Recovered<'_>)) -> io::Result<()> {
    let mut reader = BufReader::new(&open.file);
    reader.seek(SeekFrom::Start(start.offset))?;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
        record(Recovered {
            text: &line,
            after_hole: start.after_hole,
        });
        line.clear();
    }
    Ok(())
}

/// Takes away a record that was only begun: the process was killed in the middle of a write.
pub(super) fn end_whole(open: &Open, is_begun: fn(&[u8]) -> bool) -> io::Result<()> {
    let metadata = open.metadata()?;
    if !metadata.is_file() {
        return Ok(());
    }
    let (length, whole) = (metadata.len(), last_record(open, metadata.len())?);
    if whole == length {
        return Ok(());
    }
    let mut begun = [0; BEGUN as usize];
    let begun = &mut begun[..(length - whole).min(BEGUN) as usize];
    open.file.read_exact_at(begun, whole)?;
    if is_begun(begun) {
        open.file.set_len(whole)
    } else {
        // Not ours: it is kept, and our first record does not go on in its line.
        (&open.file).write_all(b"\n")
    }
}

/// Where the last record begins, or ends where it is whole: behind the last line feed.
fn last_record(open: &Open, length: u64) -> io::Result<u64> {
    const BLOCK: u64 = 64 * 1024;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize((end - start) as usize, 0);
        open.file.read_exact_at(&mut block, start)?;
        if let Some(at) = memchr::memrchr(b'\n', &block) {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
