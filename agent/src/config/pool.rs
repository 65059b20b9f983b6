//! Keep-alive connections to the engine, and whether they and the engine are well.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Problems;

/// Keep-alive connections for short requests. Log streams have a budget of their own,
/// `capture.streams.max_concurrent`, so neither can starve the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    /// Connections that stay open even when nothing is asked.
    pub min_size: usize,
    /// The most connections that are open.
    pub max_size: usize,
    /// The most idle connections that are kept.
    pub max_idle: usize,
    /// How long a connection that is not needed stays open.
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    /// The age from which a connection is no longer used.
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    /// How long a request waits for a connection before it fails.
    #[serde(with = "humantime_serde")]
    pub wait_timeout: Duration,
    /// In use, of those that are there; above it some are opened ahead of need.
    pub target_utilization: f64,
    /// By what factor the pool then grows.
    pub growth_factor: f64,
}

/// Whether the engine and the idle connections are well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    /// How long an idle connection may be silent before it is pinged.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// How long a ping may take before it counts as failed.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Failures one after the other.
    pub unhealthy_after: u32,
    /// A list of containers that takes longer counts as half a success.
    #[serde(with = "humantime_serde")]
    pub slow_list: Duration,
    /// How much each sign counts in the engine's score.
    pub weights: Weights,
    /// The score, of 1, from which on the engine counts as well.
    pub ready_at: f64,
}

/// What each sign of the engine's health counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// The last ping.
    pub ping: f64,
    /// The last list of containers.
    pub list: f64,
    /// Whether the event stream is open.
    pub events: f64,
}

impl Pool {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(self.max_size >= 1, "max_size", "must be at least 1");
        problems.require(
            self.max_idle <= self.max_size,
            "max_idle",
            "must not be more than docker.pool.max_size",
        );
        problems.require(
            self.min_size <= self.max_idle,
            "min_size",
            "must not be more than docker.pool.max_idle",
        );
        problems.duration(self.idle_timeout, "idle_timeout");
        problems.duration(self.max_age, "max_age");
        problems.duration(self.wait_timeout, "wait_timeout");
        problems.require(
            self.target_utilization > 0.0 && self.target_utilization <= 1.0,
            "target_utilization",
            "must be above 0 and at most 1",
        );
        problems.range(self.growth_factor, 1.0..=10.0, "growth_factor");
    }
}

impl Health {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.duration(self.interval, "interval");
        problems.duration(self.timeout, "timeout");
        problems.range(self.unhealthy_after, 1..=100, "unhealthy_after");
        problems.duration(self.slow_list, "slow_list");
        let weights = [self.weights.ping, self.weights.list, self.weights.events];
        problems.require(
            weights.iter().all(|weight| (0.0..=1e6).contains(weight)) && weights.iter().sum::<f64>() > 0.0,
            "weights",
            "must be from 0 to 1000000, and not all 0",
        );
        problems.range(self.ready_at, 0.0..=1.0, "ready_at");
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            min_size: 1,
            max_size: 4,
            max_idle: 2,
            idle_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
            wait_timeout: Duration::from_secs(10),
            target_utilization: 0.8,
            growth_factor: 1.5,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            slow_list: Duration::from_secs(5),
            weights: Weights::default(),
            ready_at: 0.65,
        }
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            ping: 5.0,
            list: 1.0,
            events: 4.0,
        }
    }
}
