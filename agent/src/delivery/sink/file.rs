//! A file that records are appended to.

use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::Sink;
use super::file_end::FileEnd;

/// How often the path is compared with what is open.
const LOOK: Duration = Duration::from_secs(1);
/// What every record begins with.
const RECORD: &[u8] = b"{\"ts\":\"";

/// Appends to a file, and opens a new one at its path if that was moved away.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    /// When the path was last compared with what is open.
    looked: Instant,
    file: Arc<std::fs::File>,
    end: FileEnd,
}

impl File {
    /// Opens it for appending. Logs can hold secrets: a new file is its owner's alone.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).read(true).append(true).mode(0o600).open(path)?;
        let file = Arc::new(file);
        let metadata = file.metadata()?;
        let end = FileEnd {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            file: Some(Arc::clone(&file)),
        };
        if metadata.len() == 0
            && let Some(folder) = path.parent()
        {
            // A new file's name can be lost, too. Where a folder cannot be synchronised, nobody can help it.
            let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(Self {
            path: path.to_owned(),
            looked: Instant::now(),
            file,
            end,
        })
    }

    /// As the configuration has it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether `end` is of this file, and not of one that was at its place before.
    pub fn is(&self, end: &FileEnd) -> bool {
        (end.device, end.inode) == (self.end.device, self.end.inode)
    }

    /// Lends every whole record behind `from`, and takes away one that was only begun: the process was killed in the
    /// middle of a write. Without `from` only the latter.
    pub fn recover(&mut self, from: Option<&FileEnd>, mut record: impl FnMut(&[u8])) -> io::Result<()> {
        if !self.file.metadata()?.is_file() {
            return Ok(());
        }
        let length = self.end.length;
        let start = match from {
            Some(end) if end.length <= length => end.length,
            Some(_) => {
                warn!(file = %self.path.display(), "the file is shorter than at the last checkpoint: lines can be doubled");
                self.last_record()?
            }
            None => self.last_record()?,
        };
        let mut reader = BufReader::new(&*self.file);
        reader.seek(SeekFrom::Start(start))?;
        let mut whole = start;
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.last() == Some(&b'\n') {
                whole += line.len() as u64;
                if from.is_some_and(|end| end.length <= length) {
                    record(&line);
                }
            }
            line.clear();
        }
        if whole == length {
            return Ok(());
        }
        let mut begun = [0; RECORD.len()];
        let known = (length - whole).min(RECORD.len() as u64) as usize;
        FileExt::read_exact_at(&*self.file, &mut begun[..known], whole)?;
        if begun[..known] == RECORD[..known] {
            self.file.set_len(whole)?;
            self.end.length = whole;
        } else {
            // Not ours: it is kept, and our first record does not go on in its line.
            (&*self.file).write_all(b"\n")?;
            self.end.length += 1;
        }
        Ok(())
    }

    /// Opens the file at the path anew where it is another by now: logrotate has renamed the old one.
    fn follow_path(&mut self) -> io::Result<()> {
        self.looked = Instant::now();
        let same =
            std::fs::metadata(&self.path).is_ok_and(|now| (now.dev(), now.ino()) == (self.end.device, self.end.inode));
        if !same {
            // No later end tells of the old one.
            self.end.sync()?;
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }

    /// Where the last record begins, or ends where it is whole: behind the last line feed.
    fn last_record(&self) -> io::Result<u64> {
        const BLOCK: u64 = 64 * 1024;
        let mut end = self.end.length;
        let mut block = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(BLOCK);
            block.resize((end - start) as usize, 0);
            FileExt::read_exact_at(&*self.file, &mut block, start)?;
            if let Some(at) = memchr::memrchr(b'\n', &block) {
                return Ok(start + at as u64 + 1);
            }
            end = start;
        }
        Ok(0)
    }
}

impl Sink for File {
    fn name(&self) -> &str {
        "file"
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.looked.elapsed() < LOOK {
            Ok(())
        } else {
            self.follow_path()
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&*self.file).write(bytes)?;
        self.end.length += written as u64;
        Ok(written)
    }

    /// A full disk can get room again.
    fn is_fatal(&self, _: &io::Error) -> bool {
        false
    }

    fn end(&self) -> Option<FileEnd> {
        Some(self.end.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(text: &[u8], from: Option<u64>) -> (Vec<Vec<u8>>, Vec<u8>) {
        let name = format!("lc-file-{}-{:?}", std::process::id(), std::thread::current().id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        let mut file = File::open(&path).unwrap();
        let from = from.map(|length| FileEnd {
            length,
            ..file.end.clone()
        });
        let mut records = Vec::new();
        file.recover(from.as_ref(), |record| records.push(record.to_vec()))
            .unwrap();
        assert_eq!(file.write(b"new\n").unwrap(), 4);
        let left = std::fs::read(&path).unwrap();
        assert_eq!(file.end.length, left.len() as u64);
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
        let mut file = File::open(&path).unwrap();
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
