//! The engine and the connections to it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The engine and the connections to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// `unix:///path/of/the/socket`, `tcp://host:port`, `https://host:port`; `DOCKER_HOST` when empty.
    pub host: String,
    pub tls: Tls,
    pub api: Api,
    pub pool: Pool,
    pub retry: Retry,
    pub health: Health,
    pub circuit_breaker: CircuitBreaker,
    pub rate_limit: RateLimit,
}

/// TLS with the engine. It always verifies: there is no other kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    pub mode: TlsMode,
    /// Of the CA that has signed the engine's certificate.
    pub ca: PathBuf,
    /// The agent's own certificate and its key; none where both are empty.
    pub cert: PathBuf,
    pub key: PathBuf,
    /// What the engine's certificate is for; the host of the address when empty.
    pub server_name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// As the address and the docker client's variables say. Decided when the configuration is loaded.
    #[default]
    Auto,
    On,
    Off,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Api {
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// From the request to the end of the response's head.
    #[serde(with = "humantime_serde")]
    pub head_timeout: Duration,
    /// For the whole body of a short request.
    #[serde(with = "humantime_serde")]
    pub body_timeout: Duration,
}

/// Keep-alive connections for short requests. Log streams have a budget of their own,
/// `capture.streams.max_concurrent`, so neither can starve the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pool {
    pub min_size: usize,
    pub max_size: usize,
    pub max_idle: usize,
    #[serde(with = "humantime_serde")]
    pub idle_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub max_age: Duration,
    #[serde(with = "humantime_serde")]
    pub wait_timeout: Duration,
    /// In use, of those that are there; above it some are opened ahead of need.
    pub target_utilization: f64,
    pub growth_factor: f64,
}

/// Whether the engine and the idle connections are well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Health {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Failures one after the other.
    pub unhealthy_after: u32,
    #[serde(with = "humantime_serde")]
    pub slow_list: Duration,
    pub weights: Weights,
    /// The score, of 1, from which on the engine counts as well.
    pub ready_at: f64,
}

/// What each sign of the engine's health counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    pub ping: f64,
    pub list: f64,
    pub events: f64,
}

/// The growing delay between attempts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    #[serde(with = "humantime_serde")]
    pub initial_delay: Duration,
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// Of a short request, the first included.
    pub max_attempts: usize,
}

/// When the engine is left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CircuitBreaker {
    /// So many failures within the window, and no success between them, open it.
    pub failure_threshold: usize,
    #[serde(with = "humantime_serde")]
    pub failure_window: Duration,
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
    pub requests_per_second: NonZeroU32,
    pub burst: NonZeroU32,
    #[serde(with = "humantime_serde")]
    pub max_wait: Duration,
}

impl Default for Api {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
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
