//! The files that letters are in. Each is of one sink, is only ever appended to, and goes as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::letter::texts;

/// A file that has grown to this size gets no more letters. It is what is sent again at once.
const FULL: u64 = 256 << 10;
/// The last file in which something was damaged, for people to look at.
const DAMAGED: &str = "damaged";
/// Digits of a file's number, so that files are in order.
const DIGITS: usize = 16;

/// A file of letters. Its name is the sink's, with the number behind it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Held {
    /// Files are counted from 1, over all sinks.
    pub number: u64,
    /// Whose they are.
    pub sink: String,
}

#[derive(Clone, Copy, Debug, Default)]
struct Size {
    bytes: u64,
    letters: usize,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    max_bytes: u64,
    all: BTreeMap<Held, Size>,
    /// Those that letters are appended to: one for each sink.
    open: BTreeMap<String, (Held, File)>,
    last: u64,
}

impl Files {
    /// In that folder, with what it holds already. It is made if it is not there.
    pub(super) fn open(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let Some(held) = name.to_str().and_then(Held::of_name) else {
                continue;
            };
            let content = fs::read(folder.join(&name))?;
            let letters = texts(&content).count();
            let bytes = content.len() as u64;
            all.insert(held, Size { bytes, letters });
        }
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            last: all.keys().map(|held| held.number).max().unwrap_or(0),
            all,
            open: BTreeMap::new(),
        })
    }

    /// Appends letters of one sink, and waits until the disk has them. `false` if there is no room for them; those that
    /// `replace` others always have room.
    pub(super) fn append(&mut self, sink: &str, text: &[u8], letters: usize, replace: bool) -> io::Result<bool> {
        let bytes = text.len() as u64;
        let held: u64 = self.all.values().map(|size| size.bytes).sum();
        if !replace && held + bytes > self.max_bytes {
            return Ok(false);
        }
        if !self.open.contains_key(sink) {
            self.begin(sink)?;
        }
        let Some((held, file)) = self.open.get_mut(sink) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let held = held.clone();
        let written = file.write_all(text).and_then(|()| file.sync_data());
        let size = self.all.entry(held).or_default();
        // Whatever was written of it takes room.
        size.bytes += bytes;
        let is_full = size.bytes >= FULL;
        if written.is_ok() {
            size.letters += letters;
        }
        if is_full || written.is_err() {
            self.open.remove(sink);
        }
        written.map(|()| true)
    }

    fn begin(&mut self, sink: &str) -> io::Result<()> {
        self.last += 1;
        let held = Held {
            number: self.last,
            sink: sink.to_owned(),
        };
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(self.folder.join(held.name()))?;
        File::open(&self.folder)?.sync_all()?;
        self.all.insert(held.clone(), Size::default());
        self.open.insert(held.sink.clone(), (held, file));
        Ok(())
    }

    /// All files that hold letters now, in the order in which they were begun. What comes later goes into others.
    pub(super) fn close(&mut self, sink: Option<&str>) -> Vec<Held> {
        self.open.retain(|name, _| sink.is_some_and(|sink| sink != name));
        let is_of = |held: &&Held| sink.is_none_or(|sink| sink == held.sink);
        self.all.keys().filter(is_of).cloned().collect()
    }

    /// All files, in the order in which they were begun.
    pub(super) fn list(&self) -> Vec<Held> {
        self.all.keys().cloned().collect()
    }

    /// What is in one.
    pub(super) fn read(&self, held: &Held) -> io::Result<Vec<u8>> {
        if !self.all.contains_key(held) {
            return Err(io::ErrorKind::NotFound.into());
        }
        fs::read(self.folder.join(held.name()))
    }

    /// Removes one. Gives how many letters it held.
    pub(super) fn remove(&mut self, held: &Held) -> io::Result<usize> {
        self.let_go(held, |path, _| fs::remove_file(path))
    }

    /// Keeps one under another name, in place of the one before. Gives how many letters it held.
    pub(super) fn set_aside(&mut self, held: &Held) -> io::Result<usize> {
        self.let_go(held, |path, folder| fs::rename(path, folder.join(DAMAGED)))
    }

    fn let_go(&mut self, held: &Held, how: impl FnOnce(&Path, &Path) -> io::Result<()>) -> io::Result<usize> {
        let Some(size) = self.all.get(held).copied() else {
            return Ok(0);
        };
        match how(&self.folder.join(held.name()), &self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.all.remove(held);
        Ok(size.letters)
    }

    /// How many letters there are.
    pub(super) fn letters(&self, sink: Option<&str>) -> usize {
        let of = self.all.iter();
        let of = of.filter(|(held, _)| sink.is_none_or(|sink| sink == held.sink));
        of.map(|(_, size)| size.letters).sum()
    }
}

impl Held {
    fn name(&self) -> String {
        format!("{}.{:0DIGITS$}", self.sink, self.number)
    }

    fn of_name(name: &str) -> Option<Self> {
        let (sink, number) = name.rsplit_once('.')?;
        let held = Self {
            number: number.parse().ok()?,
            sink: sink.to_owned(),
        };
        (held.name() == name).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts that have no checksum are no letters; what counts here is where they are.
    fn held(files: &Files) -> Vec<(u64, String)> {
        let list = files.list().into_iter();
        list.map(|held| (held.number, held.sink)).collect()
    }

    #[test]
    fn letters_are_bounded_and_those_that_replace_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), 10).unwrap();
        assert!(files.append("main", b"123456\n", 1, false).unwrap());
        assert!(!files.append("main", b"1234\n", 1, false).unwrap());
        assert!(files.append("main", b"1234\n", 1, true).unwrap());
        assert_eq!(files.letters(None), 2);
        let [first] = &files.close(Some("main"))[..] else {
            panic!("one file: {files:?}");
        };
        assert_eq!(files.read(first).unwrap(), b"123456\n1234\n");
        assert_eq!(files.remove(first).unwrap(), 2);
        assert_eq!((files.letters(None), files.remove(first).unwrap()), (0, 0));
        assert!(files.append("main", b"123456\n", 1, false).unwrap());
    }

    #[test]
    fn each_sink_has_files_of_its_own_and_what_was_closed_is_not_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let mut files = Files::open(folder.path(), 1 << 20).unwrap();
        // Whatever a sink may be called.
        let sinks = ["main", "..", "a.0000000000000001"];
        for sink in sinks {
            assert!(files.append(sink, b"x\n", 1, false).unwrap());
        }
        assert_eq!(files.close(Some("main")).len(), 1);
        for sink in sinks {
            assert!(files.append(sink, b"y\n", 1, false).unwrap());
        }
        let of = |number, sink: &str| (number, sink.to_owned());
        let expected = [of(1, "main"), of(2, ".."), of(3, "a.0000000000000001"), of(4, "main")];
        assert_eq!(held(&files), expected);
        assert_eq!(files.letters(Some("main")), 2);
        let large = vec![b'x'; FULL as usize];
        assert!(files.append("main", &large, 1, false).unwrap());
        assert!(files.append("main", b"z\n", 1, false).unwrap());
        assert_eq!(files.letters(None), 8);
        // The next start finds all of them, and appends to none.
        fs::write(folder.path().join("somebody's"), "else").unwrap();
        let mut again = Files::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(held(&again), held(&files));
        assert!(again.append("main", b"z\n", 1, false).unwrap());
        assert_eq!(held(&again).last().unwrap(), &of(6, "main"));
    }
}
