//! Whether the agent itself stood still: it was stopped, its control group was frozen, or the machine was suspended. And
//! whether the clock was set back, by which lines are stamped.
//!
//! An engine whose reader does not read for a while can lose its place in files that it rotates meanwhile, and says nothing
//! of it. So a stream that was open by then is not believed: it is opened again where its log was left off.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::record::Time;

/// How often somebody looks at least.
const EVERY: Duration = Duration::from_millis(500);
/// What is longer from one look to the next is a standstill.
const LONG: u64 = 2_000_000_000;
/// A clock that is set back by less is searched behind at each reopen: see `resume`.
const BACK: i64 = 100_000_000;

/// Counts standstills. Shared by all streams, each of which looks before it reads.
#[derive(Debug, Default)]
pub struct Standstills {
    /// The time of the last look, in nanoseconds of the clock that goes on while the machine is suspended.
    last: AtomicU64,
    /// By how much the clock of the day was ahead of that one.
    ahead: AtomicI64,
    count: AtomicU64,
}

impl Standstills {
    /// How many there were by now.
    pub fn look(&self) -> u64 {
        let now = clock_gettime(ClockId::Boottime);
        let now = now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs();
        self.look_at(now, Time::now())
    }

    fn look_at(&self, now: u64, day: Time) -> u64 {
        let last = self.last.swap(now, Ordering::Relaxed);
        let ahead = day.0.saturating_sub_unsigned(now);
        let was_ahead = self.ahead.swap(ahead, Ordering::Relaxed);
        let was_set_back = ahead < was_ahead.saturating_sub(BACK);
        if last > 0 && (now.saturating_sub(last) > LONG || was_set_back) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        self.count.load(Ordering::Relaxed)
    }

    /// Looks for as long as it is polled, so that a time without reading is no standstill.
    pub async fn keep_looking(&self) {
        loop {
            self.look();
            tokio::time::sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_look_and_a_clock_that_is_set_back_are_counted() {
        const SECOND: u64 = 1_000_000_000;
        let standstills = Standstills::default();
        let day = |seconds: i64| Time(1_795_000_000_000_000_000 + seconds * 1_000_000_000);
        for (now, seconds, count) in [
            (1, 1, 0),
            (2, 2, 0),
            (5, 5, 1),
            (6, 6, 1),
            (7, 3, 2),
            (8, 4, 2),
            (9, 100, 2),
        ] {
            assert_eq!(standstills.look_at(now * SECOND, day(seconds)), count, "at {now}");
        }
    }
}
