//! What must hold for any input, each against a plain model: slow, without state between two calls, and short enough to be
//! seen to be right. The input is a string of bytes, so that one check serves a coverage-guided fuzzer (`cargo xtask fuzz`)
//! and the random bytes of `tests/random.rs`.

pub mod chunked;
mod files;
pub mod frames;
pub mod json_file;
pub mod k8s_file;
pub mod lines;
pub mod local;
mod parts;
pub mod patterns;
pub mod resume;

use arbitrary::Unstructured;

/// Runs `work`, which may hold at most `limit` bytes at any time.
fn within(limit: u64, work: impl FnOnce()) {
    let most = allocation_counter::measure(work).bytes_max;
    assert!(most <= limit, "{most} bytes allocated, {limit} allowed");
}

/// The first place where two lists differ: all of them would bury it.
fn assert_same<T: PartialEq + std::fmt::Debug>(got: &[T], wanted: &[T]) {
    let mut place = 0;
    while place < got.len() && got.get(place) == wanted.get(place) {
        place += 1;
    }
    assert_eq!(got.get(place), wanted.get(place), "at {place}");
}

/// Where bytes that belong together are cut when they arrive.
#[derive(Debug)]
struct Cuts(Vec<u16>);

impl Cuts {
    fn choose(source: &mut Unstructured<'_>) -> Self {
        let cuts = (0..below(source, 8)).map(|_| source.arbitrary().unwrap_or_default());
        Self(cuts.collect())
    }

    /// The pieces; each byte by itself, where so many cuts are drawn that they may as well be.
    fn apply<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        if self.0.len() == 7 {
            return bytes.chunks(1).collect();
        }
        let mut places: Vec<usize> = self.0.iter().map(|cut| usize::from(*cut) % (bytes.len() + 1)).collect();
        places.sort_unstable();
        places.push(bytes.len());
        let mut from = 0;
        let mut pieces = Vec::new();
        for place in places {
            pieces.push(&bytes[from..place]);
            from = place;
        }
        pieces
    }
}

/// 0 to `end - 1`; 0 when the input is used up.
fn below(source: &mut Unstructured<'_>, end: usize) -> usize {
    source.int_in_range(0..=end - 1).unwrap_or_default()
}

/// One of two; the second when the input is used up.
fn coin(source: &mut Unstructured<'_>) -> bool {
    source.arbitrary().unwrap_or_default()
}
