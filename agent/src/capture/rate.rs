//! How many lines a second a container may bring.
//!
//! The clock is that of the lines: a container is limited by what it wrote, not by how fast its log is read. So what was
//! written at a bearable rate while the agent was away is all taken, and a log gives the same records whenever it is
//! read. The algorithm is GCRA (ITU-T I.371), the leaky bucket that needs one number.

use std::time::Duration;

use crate::record::Time;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// One container's limit, and how far it is used up.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// Nanoseconds that one line takes up.
    cost: i64,
    /// How much may be taken up in advance.
    burst: i64,
    /// Up to when time is taken up; `None` before the first line.
    taken: Option<i64>,
}

impl RateLimit {
    /// `burst` is the time whose lines may come at once.
    pub fn new(lines_per_second: u32, burst: Duration) -> Self {
        Self {
            cost: NANOS_PER_SECOND / i64::from(lines_per_second.max(1)),
            burst: i64::try_from(burst.as_nanos()).unwrap_or(i64::MAX / 2),
            taken: None,
        }
    }

    /// As far as that one is used up, this one is.
    pub fn go_on_from(&mut self, before: &Self) {
        self.taken = before.taken;
    }

    /// Whether a line of this time may pass.
    pub fn admits(&mut self, time: Time) -> bool {
        let now = time.0;
        let taken = match self.taken {
            // Further ahead than any burst can be: the clock was set back.
            Some(taken) if taken.saturating_sub(now) <= self.burst.saturating_add(NANOS_PER_SECOND) => taken.max(now),
            _ => now,
        };
        let next = taken.saturating_add(self.cost);
        let admits = next.saturating_sub(now) <= self.burst.max(self.cost);
        self.taken = Some(if admits { next } else { taken });
        admits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = NANOS_PER_SECOND;

    /// How many of `lines` pass that are written every `step` nanoseconds from `from` on.
    fn passed(limit: &mut RateLimit, from: i64, step: i64, lines: i64) -> usize {
        (0..lines).filter(|line| limit.admits(Time(from + line * step))).count()
    }

    #[test]
    fn what_is_below_the_limit_passes_and_what_is_above_is_cut_to_it() {
        let mut limit = RateLimit::new(100, Duration::from_secs(2));
        assert_eq!(passed(&mut limit, 0, SECOND / 100, 10_000), 10_000);
        let mut limit = RateLimit::new(100, Duration::from_secs(2));
        // A burst of two seconds, and ten seconds' lines.
        let passed = passed(&mut limit, 0, SECOND / 1_000, 10_000);
        assert!((1_195..=1_205).contains(&passed), "{passed}");
    }

    #[test]
    fn a_burst_passes_once_and_again_after_a_rest() {
        let mut limit = RateLimit::new(10, Duration::from_secs(5));
        assert_eq!(passed(&mut limit, 0, 0, 1_000), 50);
        assert_eq!(passed(&mut limit, SECOND, 0, 1_000), 10);
        assert_eq!(passed(&mut limit, 60 * SECOND, 0, 1_000), 50);
    }

    #[test]
    fn without_a_burst_lines_pass_one_by_one() {
        let mut limit = RateLimit::new(10, Duration::ZERO);
        assert_eq!(passed(&mut limit, 0, SECOND / 10, 100), 100);
        assert_eq!(passed(&mut limit, 100 * SECOND, SECOND / 20, 100), 50);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_silence_a_container() {
        let mut limit = RateLimit::new(10, Duration::from_secs(1));
        assert_eq!(passed(&mut limit, 3_600 * SECOND, 0, 100), 10);
        assert_eq!(passed(&mut limit, 0, SECOND / 10, 100), 100);
        // And a little back is nothing.
        assert!(limit.admits(Time(10 * SECOND - 1_000)));
    }

    #[test]
    fn any_time_and_any_limit() {
        for lines in [0, 1, 1_000_000, u32::MAX] {
            for burst in [Duration::ZERO, Duration::MAX] {
                let mut limit = RateLimit::new(lines, burst);
                for time in [i64::MIN, -1, 0, i64::MAX, i64::MIN, i64::MAX] {
                    limit.admits(Time(time));
                }
                assert!(limit.admits(Time(0)), "{lines} {burst:?}");
            }
        }
    }
}
