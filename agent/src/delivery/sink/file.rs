//! A file that records are appended to.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::fdatasync;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};

use super::{Durable, Mark, Sink};

/// How often the path is compared with what is open.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of a begun record that tell whose it is.
const BEGUN: u64 = 16;

/// Appends to a file, and opens a new one at its path if that was moved away.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// Whether bytes can be the start of a record that was only begun.
    is_begun: fn(&[u8]) -> bool,
    /// When the path was last compared with what is open.
    looked: Instant,
    file: Arc<Open>,
    length: u64,
}

/// An open file: what must be synchronised.
#[derive(Debug)]
struct Open {
    file: std::fs::File,
    device: u64,
    inode: u64,
}

/// How far a file was written, and which file it was.
#[derive(Debug, Serialize, Deserialize)]
struct End {
    device: u64,
    inode: u64,
    length: u64,
}

impl Durable for Open {
    fn sync(&self) -> io::Result<()> {
        match fdatasync(&self.file) {
            // Not a file after all: a pipe, or /dev/null.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Open {
    /// For appending. Logs can hold secrets: a new file is its owner's alone.
    fn at(path: &Path) -> io::Result<(Arc<Self>, u64)> {
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        if metadata.len() == 0
            && let Some(folder) = path.parent()
        {
            // A new file's name can be lost, too. Where a folder cannot be synchronised, nobody can help it.
            let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        }
        let (device, inode) = (metadata.dev(), metadata.ino());
        Ok((Arc::new(Self { file, device, inode }), metadata.len()))
    }
}

impl File {
    /// `is_begun` is asked about what is behind the last whole record: whether it can be the start of another.
    pub fn open(path: &Path, is_begun: fn(&[u8]) -> bool) -> io::Result<Self> {
        let (file, length) = Open::at(path)?;
        Ok(Self {
            path: path.to_owned(),
            is_begun,
            looked: Instant::now(),
            file,
            length,
        })
    }

    /// Lends the records from `from` to the end.
    fn read_on(&self, from: u64, record: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut reader = BufReader::new(&self.file.file);
        reader.seek(SeekFrom::Start(from))?;
        let mut line = Vec::new();
        let mut records = 0_u64;
        while reader.read_until(b'\n', &mut line)? > 0 && line.last() == Some(&b'\n') {
            record(&line);
            records += 1;
            line.clear();
        }
        if records > 0 {
            let file = self.path.display();
            info!(%file, records, "continued from what the file has beyond the last checkpoint");
        }
        Ok(())
    }

    /// Takes away a record that was only begun: the process was killed in the middle of a write.
    fn end_whole(&mut self) -> io::Result<()> {
        let whole = self.last_record()?;
        if whole == self.length {
            return Ok(());
        }
        let mut begun = [0; BEGUN as usize];
        let begun = &mut begun[..(self.length - whole).min(BEGUN) as usize];
        FileExt::read_exact_at(&self.file.file, begun, whole)?;
        if (self.is_begun)(begun) {
            self.file.file.set_len(whole)?;
            self.length = whole;
        } else {
            // Not ours: it is kept, and our first record does not go on in its line.
            (&self.file.file).write_all(b"\n")?;
            self.length += 1;
        }
        Ok(())
    }

    /// Opens the file at the path anew where it is another by now: logrotate has renamed the old one.
    fn follow_path(&mut self) -> io::Result<()> {
        self.looked = Instant::now();
        let open = (self.file.device, self.file.inode);
        let same = std::fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == open);
        if !same {
            // No later mark tells of the old one.
            self.file.sync()?;
            (self.file, self.length) = Open::at(&self.path)?;
        }
        Ok(())
    }

    /// Where the last record begins, or ends where it is whole: behind the last line feed.
    fn last_record(&self) -> io::Result<u64> {
        const BLOCK: u64 = 64 * 1024;
        let mut end = self.length;
        let mut block = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(BLOCK);
            block.resize((end - start) as usize, 0);
            FileExt::read_exact_at(&self.file.file, &mut block, start)?;
            if let Some(at) = memchr::memrchr(b'\n', &block) {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }
}

impl Sink for File {
    fn begin(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK {
            Ok(())
        } else {
            self.follow_path()
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&self.file.file).write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.follow_path()
    }

    /// A full disk can get room again.
    fn is_fatal(&self, _: &io::Error) -> bool {
        false
    }

    fn mark(&mut self) -> io::Result<Option<Mark>> {
        let end = End {
            device: self.file.device,
            inode: self.file.inode,
            length: self.length,
        };
        let written: Arc<Open> = Arc::clone(&self.file);
        Ok(Some(Mark {
            saved: serde_json::to_value(end)?,
            written: Some(written),
        }))
    }

    fn recover(&mut self, from: Option<&Value>, record: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        if !self.file.file.metadata()?.is_file() {
            return Ok(());
        }
        let end = from.and_then(|from| End::deserialize(from).ok());
        // Not of one that was at its place before.
        let end = end.filter(|end| (end.device, end.inode) == (self.file.device, self.file.inode));
        match end {
            Some(end) if end.length <= self.length => self.read_on(end.length, record)?,
            Some(_) => {
                warn!(file = %self.path.display(), "the file is shorter than at the last checkpoint: lines can be doubled")
            }
            None => {}
        }
        self.end_whole()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::is_begun;

    fn recovered(text: &[u8], from: Option<u64>) -> (Vec<Vec<u8>>, Vec<u8>) {
        let name = format!("lc-file-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let mut file = File::open(&path, is_begun).unwrap();
        let mut mark = file.mark().unwrap().unwrap().saved;
        let from = from.map(|length| {
            mark["length"] = length.into();
            &mark
        });
        let mut records = Vec::new();
        file.recover(from, &mut |record| records.push(record.to_vec())).unwrap();
        assert_eq!(file.write(b"new\n").unwrap(), 4);
        let left = std::fs::read(&path).unwrap();
        assert_eq!(file.length, left.len() as u64);
        std::fs::remove_file(path).unwrap();
        (records, left)
    }

    #[test]
    fn reads_on_and_takes_a_begun_record_away() {
        let text = b"one\ntwo\nthree\n{\"ts\":\"20";
        let (records, left) = recovered(text, Some(4));
        assert_eq!(records, [b"two\n".to_vec(), b"three\n".to_vec()]);
        assert_eq!(left, b"one\ntwo\nthree\nnew\n");
        for from in [None, Some(100)] {
            let (records, left) = recovered(text, from);
            assert!(records.is_empty());
            assert_eq!(left, b"one\ntwo\nthree\nnew\n");
        }
        assert_eq!(recovered(b"", None).1, b"new\n");
        assert_eq!(recovered(b"{\"t", None).1, b"new\n");
        assert_eq!(recovered(b"somebody's", None).1, b"somebody's\nnew\n");
        let foreign = vec![b'x'; 200_000];
        assert_eq!(recovered(&foreign, None).1, [&foreign[..], b"\nnew\n"].concat());
    }

    #[test]
    fn a_renamed_file_is_left_for_a_new_one() {
        let path = std::env::temp_dir().join(format!("lc-rename-{}", std::process::id()));
        let old = path.with_extension("1");
        let mut file = File::open(&path, is_begun).unwrap();
        file.write(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.follow_path().unwrap();
        file.write(b"two\n").unwrap();
        assert_eq!(std::fs::read(&old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"two\n");
        std::fs::remove_file(old).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
