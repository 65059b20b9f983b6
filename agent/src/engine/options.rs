//! Everything that bounds what the engine is asked.

use super::guard::Rate;
use super::guard::Retry;
use super::guard::Signs;
use super::guard::Thresholds;
use super::pool::{Checks, Size};
use crate::config::Docker;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub size: Size,
    pub retry: Retry,
    pub thresholds: Thresholds,
    pub rate: Rate,
    pub checks: Checks,
    pub signs: Signs,
}

impl From<&Docker> for Options {
    fn from(docker: &Docker) -> Self {
        let (breaker, rate, health) = (&docker.circuit_breaker, &docker.rate_limit, &docker.health);
        Self {
            size: Size {
                min_size: docker.pool.min_size,
                max_size: docker.pool.max_size,
                max_idle: docker.pool.max_idle,
                idle_timeout: docker.pool.idle_timeout,
                max_age: docker.pool.max_age,
                wait_timeout: docker.pool.wait_timeout,
                target_utilization: docker.pool.target_utilization,
                growth_factor: docker.pool.growth_factor,
            },
            retry: Retry {
                initial_delay: docker.retry.initial_delay,
                max_delay: docker.retry.max_delay,
                max_attempts: docker.retry.max_attempts,
            },
            thresholds: Thresholds {
                failure_threshold: breaker.failure_threshold,
                failure_window: breaker.failure_window,
                open_time: breaker.open_time,
                half_open_calls: breaker.half_open_calls,
                success_threshold: breaker.success_threshold,
            },
            rate: Rate {
                requests_per_second: rate.requests_per_second,
                burst: rate.burst,
                max_wait: rate.max_wait,
            },
            checks: Checks {
                interval: health.interval,
                timeout: health.timeout,
                unhealthy_after: health.unhealthy_after,
            },
            signs: Signs {
                ping_weight: health.weights.ping,
                list_weight: health.weights.list,
                events_weight: health.weights.events,
                unhealthy_after: health.unhealthy_after,
                slow_list: health.slow_list,
                ready_at: health.ready_at,
            },
        }
    }
}
