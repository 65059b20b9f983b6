//! The growing delay between attempts.

use std::time::Duration;

use backon::BackoffBuilder;

/// When to try again: `docker.retry`.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// The longest first delay. The longest delay doubles with each attempt.
    pub initial_delay: Duration,
    /// What it does not grow beyond.
    pub max_delay: Duration,
    /// Attempts at a short request, the first included.
    pub max_attempts: usize,
}

impl Retry {
    /// The delays of a series of attempts, from the first on.
    pub fn delays(&self) -> Delays {
        let growing = backon::ExponentialBuilder::default()
            .with_min_delay(self.initial_delay)
            .with_max_delay(self.max_delay)
            .without_max_times()
            .build();
        Delays {
            growing,
            longest: self.max_delay,
        }
    }
}

/// Delays without end: from none to twice as much each time, so that those who were cut off together do not come back
/// together. (backon's own jitter only adds to the delay.)
#[derive(Debug)]
pub struct Delays {
    growing: backon::ExponentialBackoff,
    longest: Duration,
}

impl Delays {
    /// The delay before the next attempt.
    pub fn grown(&mut self) -> Duration {
        let most = self.growing.next().unwrap_or(self.longest);
        most.mul_f64(fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_are_spread_from_nothing() {
        let retry = Retry {
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(1),
            max_attempts: 3,
        };
        let mut sums = [Duration::ZERO; 8];
        let mut least = [Duration::MAX; 8];
        for _ in 0..1_000 {
            let mut delays = retry.delays();
            for ((sum, least), most) in sums
                .iter_mut()
                .zip(&mut least)
                .zip([100, 200, 400, 800, 1000, 1000, 1000, 1000])
            {
                let delay = delays.grown();
                assert!(delay <= Duration::from_millis(most));
                *sum += delay;
                *least = delay.min(*least);
            }
        }
        // The mean of a thousand is within a tenth of the half.
        for (sum, most) in sums.iter().zip([100.0, 200.0, 400.0, 800.0, 1000.0]) {
            let mean = sum.as_secs_f64();
            assert!((mean / (most / 2.0) - 1.0).abs() < 0.1, "{mean} ms of {most}");
        }
        assert!(
            least.iter().all(|least| *least < Duration::from_millis(50)),
            "{least:?}"
        );
    }
}
