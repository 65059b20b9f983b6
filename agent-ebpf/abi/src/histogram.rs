//! How long things took, counted where they end.

/// Which histogram; the index of its cell.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From a connection's opening to its close.
    Age = 0,
    /// From the peer's end to ours, where the peer ended first.
    CloseWait = 1,
}

/// How many histograms there are.
pub const MEASURES: u32 = 2;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

/// Upper bounds of the buckets: from a short request to a stream that is rotated every five minutes, and far beyond.
pub const BOUNDS_NS: [u64; 10] = [
    MILLISECOND,
    10 * MILLISECOND,
    100 * MILLISECOND,
    SECOND,
    10 * SECOND,
    30 * SECOND,
    60 * SECOND,
    300 * SECOND,
    3_600 * SECOND,
    86_400 * SECOND,
];

/// One more, for what is beyond the last bound.
pub const BUCKETS: usize = BOUNDS_NS.len() + 1;

/// The durations of one [`Measure`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The sum of all durations, in nanoseconds.
    pub sum_ns: u64,
    /// Each by itself, not cumulated.
    pub counts: [u64; BUCKETS],
}

const _: () = assert!(size_of::<Histogram>() == 8 * (BUCKETS + 1));
