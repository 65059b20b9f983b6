//! How far a spool was delivered: two places in a small file, written in turn.
//!
//! A record of 32 bytes is overwritten where it stands, so a kill leaves the old or the new one, and a full disk does not
//! prevent it. If a power loss takes the newer one, the older tells of a place before it: one batch is delivered again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

const LENGTH: usize = 32;
/// Two records never share what a disk writes at once.
const PLACES: [u64; 2] = [0, 4096];

/// A place in the spool, always at the beginning of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cursor {
    /// The number of the first record that is not delivered.
    pub record: u64,
    /// The segment that it is in, by the number of that one's first record.
    pub segment: u64,
    /// The byte of the segment where its frame begins.
    pub offset: u64,
}

impl Cursor {
    fn to_bytes(self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        for (place, number) in [self.record, self.segment, self.offset].into_iter().enumerate() {
            bytes[place * 8..][..8].copy_from_slice(&number.to_le_bytes());
        }
        let checksum = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: [u8; LENGTH]) -> Option<Self> {
        let number = |from: usize| {
            bytes[from..][..8]
                .iter()
                .rev()
                .fold(0, |all, &byte| all << 8 | u64::from(byte))
        };
        let checksum = u64::from(crc32fast::hash(&bytes[..24]));
        // The last four bytes are zero.
        (number(24) == checksum).then(|| Self {
            record: number(0),
            segment: number(8),
            offset: number(16),
        })
    }
}

/// The file.
#[derive(Debug)]
pub(super) struct Cursors {
    file: File,
    next: usize,
}

/// What a file has told.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) cursor: Option<Cursor>,
    /// A record that was once there is not sound.
    pub(super) is_damaged: bool,
}

impl Cursors {
    /// Reads a file, which may be empty.
    pub(super) fn load(file: File) -> io::Result<(Self, Loaded)> {
        let is_new = file.metadata()?.len() == 0;
        let read = |place| {
            let mut bytes = [0; LENGTH];
            let read = file.read_exact_at(&mut bytes, place);
            read.ok().and_then(|()| Cursor::from_bytes(bytes))
        };
        let places = PLACES.map(read);
        let loaded = Loaded {
            cursor: places.into_iter().flatten().max(),
            is_damaged: !is_new && places.contains(&None),
        };
        let next = usize::from(places[0] >= places[1]);
        Ok((Self { file, next }, loaded))
    }

    /// Fills both places.
    pub(super) fn begin(&mut self, cursor: Cursor) -> io::Result<()> {
        self.save(cursor)?;
        self.save(cursor)
    }

    pub(super) fn save(&mut self, cursor: Cursor) -> io::Result<()> {
        self.file.write_all_at(&cursor.to_bytes(), PLACES[self.next])?;
        self.next = 1 - self.next;
        Ok(())
    }

    /// What was saved outlives a power loss.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(record: u64) -> Cursor {
        Cursor {
            record,
            segment: 3,
            offset: 100 * record,
        }
    }

    fn load(file: &File) -> (Cursors, Loaded) {
        Cursors::load(file.try_clone().unwrap()).unwrap()
    }

    #[test]
    fn the_last_one_counts_and_the_one_before_where_it_is_damaged() {
        let file = tempfile::tempfile().unwrap();
        let (mut cursors, loaded) = load(&file);
        assert!(loaded.cursor.is_none() && !loaded.is_damaged);
        cursors.begin(at(1)).unwrap();
        for record in 2..9 {
            cursors.save(at(record)).unwrap();
            let (again, loaded) = load(&file);
            assert_eq!((loaded.cursor, loaded.is_damaged), (Some(at(record)), false));
            cursors = again;
        }
        let newest = PLACES[1 - cursors.next];
        for byte in 0..LENGTH as u64 {
            let mut old = [0];
            file.read_exact_at(&mut old, newest + byte).unwrap();
            file.write_all_at(&[old[0] ^ 0x10], newest + byte).unwrap();
            let (_, loaded) = load(&file);
            assert_eq!((loaded.cursor, loaded.is_damaged), (Some(at(7)), true), "{byte}");
            file.write_all_at(&old, newest + byte).unwrap();
        }
        for length in 1..PLACES[1] + LENGTH as u64 {
            file.set_len(length).unwrap();
            assert!(load(&file).1.is_damaged);
            cursors.begin(at(8)).unwrap();
        }
    }
}
