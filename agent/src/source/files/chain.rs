//! A log's files, as the driver rotates them: the one that is written to, then `.1`, `.2`, …, of which the older ones may
//! be compressed.
//!
//! The driver closes a file, removes the oldest, renames the others upwards, and begins a new one (moby,
//! `loggerutils/logfile.go`). It renames before it creates, so for a moment no file has the log's name; and it compresses
//! `.1` to `.1.gz` beside it before it removes `.1`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

use super::super::mark::Identity;
use super::place::Place;
use crate::record::Time;

/// A file of a log that is there now.
#[derive(Debug)]
pub(super) struct Listed {
    pub path: PathBuf,
    pub identity: Identity,
    pub compressed: bool,
    /// When it was written to for the last time.
    pub changed: Time,
}

impl Listed {
    /// When the file was created, in nanoseconds since 1970-01-01T00:00:00Z; `None` where the file system does not tell.
    pub(super) fn born(&self) -> Option<i64> {
        let found = statx(CWD, &self.path, AtFlags::empty(), StatxFlags::BTIME).ok()?;
        let known = found.stx_mask & StatxFlags::BTIME.bits() != 0;
        known.then(|| found.stx_btime.tv_sec * 1_000_000_000 + i64::from(found.stx_btime.tv_nsec))
    }
}

/// The files of a log that are there now, oldest first.
///
/// They can be renamed while they are listed. A file that got a higher number meanwhile is seen twice, or the one before it
/// not at all; so they are listed again until two lists are alike. `between` is called between two lists.
pub(super) fn list(place: &Place, mut between: impl FnMut()) -> io::Result<Vec<Listed>> {
    const ATTEMPTS: usize = 16;
    let mut before = list_once(place)?;
    for _ in 0..ATTEMPTS {
        between();
        let now = list_once(place)?;
        let alike = now.len() == before.len() && now.iter().zip(&before).all(|(a, b)| a.identity == b.identity);
        if alike {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

fn list_once(place: &Place) -> io::Result<Vec<Listed>> {
    let mut found: BTreeMap<u32, Listed> = BTreeMap::new();
    for entry in fs::read_dir(&place.folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some((number, compressed)) = name.to_str().and_then(|name| number(name, &place.name)) else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            // Renamed or removed since.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        // A compressed file is not whole while the one that it is made from is still there.
        if compressed && found.contains_key(&number) {
            continue;
        }
        let listed = Listed {
            path: entry.path(),
            identity: Identity::of(&metadata),
            compressed,
            changed: Time(metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec()),
        };
        found.insert(number, listed);
    }
    Ok(found.into_values().rev().collect())
}

/// Which of a log's files has this name, and whether it is compressed. 0 is the one that is written to.
fn number(name: &str, log: &str) -> Option<(u32, bool)> {
    let rest = name.strip_prefix(log)?;
    if rest.is_empty() {
        return Some((0, false));
    }
    let rest = rest.strip_prefix('.')?;
    let (digits, compressed) = match rest.strip_suffix(".gz") {
        Some(digits) => (digits, true),
        None => (rest, false),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok().map(|number| (number, compressed)))?
}

/// Opens a file that was listed; `None` where it has another name by now, or none.
pub(super) fn open(listed: &Listed) -> io::Result<Option<File>> {
    let file = match File::open(&listed.path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let same = Identity::of(&file.metadata()?) == listed.identity;
    Ok(same.then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Format;

    #[test]
    fn a_logs_files_are_told_by_their_names() {
        for (name, told) in [
            ("x.log", Some((0, false))),
            ("x.log.1", Some((1, false))),
            ("x.log.12.gz", Some((12, true))),
            ("x.log.1.gz.tmp", None),
            ("x.log.gz", None),
            ("x.log.", None),
            ("x.log.+1", None),
            ("x.log.01", None),
            ("y.log.1", None),
            ("x.log.99999999999", None),
        ] {
            assert_eq!(number(name, "x.log"), told, "{name}");
        }
    }

    #[test]
    fn they_are_listed_oldest_first_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.log", "x.log.2.gz", "x.log.1", "x.log.1.gz", "x.log.10", "other"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        fs::create_dir(folder.path().join("x.log.3")).unwrap();
        let place = Place {
            folder: folder.path().to_owned(),
            name: "x.log".into(),
            format: Format::JsonFile,
            tty: false,
            keeps_files: true,
        };
        let names: Vec<_> = list(&place, || ())
            .unwrap()
            .iter()
            .map(|file| file.path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["x.log.10", "x.log.2.gz", "x.log.1", "x.log"]);
    }
}
