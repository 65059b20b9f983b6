//! How long things took.

use abi::{BOUNDS_NS, BUCKETS, Measure};

use crate::{atomic::Cell, maps::HISTOGRAMS};

#[inline(always)]
pub fn observe(measure: Measure, nanoseconds: u64) {
    let Some(histogram) = HISTOGRAMS.get_ptr_mut(measure as u32) else {
        return;
    };
    let mut bucket = 0;
    for bound in BOUNDS_NS {
        // The sign of the difference instead of a comparison: the verifier would follow both ways of each branch.
        bucket += (bound.wrapping_sub(nanoseconds) >> (u64::BITS - 1)) as usize;
    }
    if bucket >= BUCKETS {
        return;
    }
    // SAFETY: a map's value; the index was compared with its length.
    unsafe {
        Cell::new(&raw mut (*histogram).sum_ns).add(nanoseconds);
        Cell::new((&raw mut (*histogram).counts).cast::<u64>().add(bucket)).count();
    }
}
