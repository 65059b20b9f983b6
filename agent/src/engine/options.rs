//! Everything that bounds what the engine is asked.

use super::guard::{Rate, Retry, Signs, Thresholds};
use super::pool::{Checks, Size};
use super::transport::Limits;
use crate::config;

/// The part of the configuration `docker` that is not about how to connect.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `docker.pool`.
    pub size: Size,
    /// `docker.retry`.
    pub retry: Retry,
    /// `docker.circuit_breaker`.
    pub thresholds: Thresholds,
    /// `docker.rate_limit`.
    pub rate: Rate,
    /// `docker.health`: of the connections.
    pub checks: Checks,
    /// `docker.health`: of the engine.
    pub signs: Signs,
}

impl From<&config::Docker> for Options {
    fn from(docker: &config::Docker) -> Self {
        Self {
            size: (&docker.pool).into(),
            retry: (&docker.retry).into(),
            thresholds: (&docker.circuit_breaker).into(),
            rate: (&docker.rate_limit).into(),
            checks: (&docker.health).into(),
            signs: (&docker.health).into(),
        }
    }
}

impl From<&config::Api> for Limits {
    fn from(api: &config::Api) -> Self {
        Self {
            connect: api.connect_timeout,
            head: api.head_timeout,
            body: api.body_timeout,
        }
    }
}

impl From<&config::Pool> for Size {
    fn from(pool: &config::Pool) -> Self {
        Self {
            min_size: pool.min_size,
            max_size: pool.max_size,
            max_idle: pool.max_idle,
            idle_timeout: pool.idle_timeout,
            max_age: pool.max_age,
            wait_timeout: pool.wait_timeout,
            target_utilization: pool.target_utilization,
            growth_factor: pool.growth_factor,
        }
    }
}

impl From<&config::Retry> for Retry {
    fn from(retry: &config::Retry) -> Self {
        Self {
            initial_delay: retry.initial_delay,
            max_delay: retry.max_delay,
            max_attempts: retry.max_attempts,
        }
    }
}

impl From<&config::CircuitBreaker> for Thresholds {
    fn from(breaker: &config::CircuitBreaker) -> Self {
        Self {
            failure_threshold: breaker.failure_threshold,
            failure_window: breaker.failure_window,
            open_time: breaker.open_time,
            half_open_calls: breaker.half_open_calls,
            success_threshold: breaker.success_threshold,
        }
    }
}

impl From<&config::RateLimit> for Rate {
    fn from(rate: &config::RateLimit) -> Self {
        Self {
            requests_per_second: rate.requests_per_second,
            burst: rate.burst,
            max_wait: rate.max_wait,
        }
    }
}

impl From<&config::Health> for Checks {
    fn from(health: &config::Health) -> Self {
        Self {
            interval: health.interval,
            timeout: health.timeout,
            unhealthy_after: health.unhealthy_after,
        }
    }
}

impl From<&config::Health> for Signs {
    fn from(health: &config::Health) -> Self {
        Self {
            ping_weight: health.weights.ping,
            list_weight: health.weights.list,
            events_weight: health.weights.events,
            unhealthy_after: health.unhealthy_after,
            slow_list: health.slow_list,
            ready_at: health.ready_at,
        }
    }
}
