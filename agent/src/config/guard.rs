//! What keeps the agent from asking too much of an engine.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Problems;

/// The growing delay between attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// The limit of the first delay. It doubles from attempt to attempt.
    #[serde(with = "humantime_serde")]
    pub initial_delay: Duration,
    /// The largest limit.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Attempts at a short request, the first included.
    pub max_attempts: usize,
}

/// When the engine is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// So many failures within the window, and no success between them, open it.
    pub failure_threshold: usize,
    /// How long a failure counts.
    #[serde(with = "humantime_serde")]
    pub failure_window: Duration,
    /// How long the engine is then left alone.
    #[serde(with = "humantime_serde")]
    pub open_time: Duration,
    /// After that time, at once.
    pub half_open_calls: usize,
    /// Successes among those that close it.
    pub success_threshold: usize,
}

/// How many requests the engine gets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// How many requests pass each second, on average.
    pub requests_per_second: NonZeroU32,
    /// How many requests may pass at once after a pause.
    pub burst: NonZeroU32,
    /// How long a request may wait for its turn before it fails.
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
}

impl Retry {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.duration(self.initial_delay, "initial_delay");
        problems.duration(self.max_delay, "max_delay");
        problems.require(
            self.initial_delay <= self.max_delay,
            "initial_delay",
            "must not be longer than docker.retry.max_delay",
        );
        problems.range(self.max_attempts, 1..=100, "max_attempts");
    }
}

impl CircuitBreaker {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.range(self.failure_threshold, 1..=1000, "failure_threshold");
        problems.duration(self.failure_window, "failure_window");
        problems.duration(self.open_time, "open_time");
        problems.range(self.half_open_calls, 1..=1000, "half_open_calls");
        problems.range(self.success_threshold, 1..=1000, "success_threshold");
    }
}

impl RateLimit {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(
            self.requests_per_second.get() <= 1_000_000,
            "requests_per_second",
            "must be at most 1000000",
        );
        problems.duration(self.max_wait, "max_wait");
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(100),
            max_delay: Duration::from_secs(30),
            max_attempts: 3,
        }
    }
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            failure_threshold: 5,
            failure_window: Duration::from_secs(30),
            open_time: Duration::from_secs(2),
            half_open_calls: 3,
            success_threshold: 2,
        }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests_per_second: const { NonZeroU32::new(100).unwrap() },
            burst: const { NonZeroU32::new(50).unwrap() },
            max_wait: Duration::from_secs(30),
        }
    }
}
