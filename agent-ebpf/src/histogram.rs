//! How long things took.

use abi::{BOUNDS_NS, BUCKETS, Measure};

use crate::{atomic::Cell, maps::HISTOGRAMS};

#[inline(always)]
pub fn observe(measure: Measure, nanoseconds: u64) {
    histogram_observe(measure as u32, nanoseconds);
}

/// Global, see `table::settle`.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn histogram_observe(measure: u32, nanoseconds: u64) -> u32 {
    let Some(histogram) = HISTOGRAMS.get_ptr_mut(measure) else {
        return 0;
    };
    let mut bucket = 0;
    for bound in BOUNDS_NS {
        bucket += usize::from(nanoseconds > bound);
    }
    if bucket >= BUCKETS {
        return 0;
    }
    // SAFETY: a map's value; the index was compared with its length.
    unsafe {
        Cell::new(&raw mut (*histogram).sum_ns).add(nanoseconds);
        Cell::new((&raw mut (*histogram).counts).cast::<u64>().add(bucket)).count();
    }
    0
}
