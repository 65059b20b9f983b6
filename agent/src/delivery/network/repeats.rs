//! Records that are equal in all that a store keeps. It takes the second for a repetition of the first, and drops it.
//!
//! A repetition of a *request* must be dropped, and two equal lines that a container really wrote must not. So the latter get a
//! number, which is the same whenever the request is sent again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use twox_hash::XxHash3_64;

use super::super::batch::{Record, Records};

/// So many records are remembered at least, and twice as many at most. An equal one that comes later is not noticed: it would have
/// to be of the same nanosecond, or second where the engine counts no nanoseconds.
const REMEMBERED: usize = 8 * 1024;

type Counts = HashMap<u64, u32, BuildHasherDefault<AsItIs>>;

/// Counts equal records.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    young: Counts,
    old: Counts,
    /// Each record of the batch that has equal ones before it, by its number, and how many.
    found: Vec<(usize, u32)>,
}

/// What is hashed are hashes.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Repeats {
    /// Looks at each record of a batch, once.
    pub(super) fn note(&mut self, records: &Records) {
        self.found.clear();
        for (number, record) in records.iter().enumerate() {
            let before = self.count(hash(&record));
            if before > 0 {
                self.found.push((number, before));
            }
        }
    }

    /// How many equal records came before the one of this number.
    pub(super) fn of(&self, number: usize) -> u32 {
        let found = self.found.binary_search_by_key(&number, |&(number, _)| number);
        found.map_or(0, |at| self.found[at].1)
    }

    fn count(&mut self, hash: u64) -> u32 {
        if let Some(count) = self.young.get_mut(&hash) {
            *count += 1;
            return *count;
        }
        if self.young.len() == REMEMBERED {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        let count = self.old.get(&hash).map_or(0, |count| count + 1);
        self.young.insert(hash, count);
        count
    }
}

fn hash(record: &Record<'_>) -> u64 {
    let line = XxHash3_64::oneshot(record.span.of(record.text));
    let id = XxHash3_64::oneshot_with_seed(line, record.container.id.as_str().as_bytes());
    XxHash3_64::oneshot_with_seed(id ^ record.stream as u64, &record.time.0.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{Written, records};
    use super::*;

    fn counted(repeats: &mut Repeats, written: &[Written<'_>]) -> Vec<u32> {
        repeats.note(&records(written));
        (0..written.len()).map(|number| repeats.of(number)).collect()
    }

    #[test]
    fn only_what_is_equal_in_everything_is_counted() {
        let mut repeats = Repeats::default();
        let written = [
            Written("web", 1, "a"),
            Written("web", 1, "a"),
            Written("web", 1, "b"),
            Written("web", 2, "a"),
            Written("db", 1, "a"),
            Written("web", 1, "a"),
        ];
        assert_eq!(counted(&mut repeats, &written), [0, 1, 0, 0, 0, 2]);
        // Also over the border of a batch.
        assert_eq!(counted(&mut repeats, &written[..1]), [3]);
        assert_eq!(counted(&mut repeats, &[Written("web", 3, "a")]), [0]);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_last_records_are_in_it() {
        let mut repeats = Repeats::default();
        for hash in 0..10 * REMEMBERED as u64 {
            assert_eq!(repeats.count(hash), 0);
        }
        assert!(repeats.young.len() + repeats.old.len() <= 2 * REMEMBERED);
        for hash in 9 * REMEMBERED as u64 + 1..10 * REMEMBERED as u64 {
            assert_eq!(repeats.count(hash), 1);
        }
    }
}
