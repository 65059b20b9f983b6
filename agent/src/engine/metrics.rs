//! What the engine client counts.

use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use crate::metrics::{counter, counters, gauge, gauges, histogram, histograms, ratio};

/// Seconds, from a request over a unix socket to one that ran into its timeout.
const LATENCY: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];
/// Seconds that a connection lives: from one request to a day.
const LIFETIME: &[f64] = &[0.1, 1.0, 5.0, 15.0, 60.0, 120.0, 300.0, 360.0, 900.0, 3600.0, 86400.0];

/// The metrics of the engine client.
#[derive(Debug)]
pub struct Metrics {
    /// `docker_http_requests_total`, by endpoint and status.
    pub requests: IntCounterVec,
    /// `docker_http_errors_total`, by endpoint and reason.
    pub errors: IntCounterVec,
    /// `docker_operation_duration_seconds`, by operation.
    pub operation_seconds: HistogramVec,
    /// `docker_connection_errors_total`.
    pub connection_errors: IntCounter,
    /// `docker_connection_duration_seconds`.
    pub connection_seconds: Histogram,
    /// `docker_pool_wait_duration_seconds`.
    pub pool_wait_seconds: Histogram,
    /// `docker_http_idle_connections`.
    pub idle: IntGauge,
    /// `docker_http_active_connections`.
    pub active: IntGauge,
    /// `docker_pool_connections`, by state.
    pub connections: IntGaugeVec,
    /// `docker_pool_utilization_ratio`, from 0 to 1.
    pub utilization: Gauge,
    /// `docker_circuit_breaker_state`, by state.
    pub breaker_state: IntGaugeVec,
    /// `docker_recovery_operations_total`.
    pub recoveries: IntCounter,
    /// `docker_pool_operations_total`, by operation.
    pub pool_operations: IntCounterVec,
    /// `docker_health_check_duration_seconds`.
    pub health_seconds: Histogram,
    /// `docker_health_check_failures_total`.
    pub health_failures: IntCounter,
}

impl Metrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(
                registry,
                "docker_http_requests_total",
                "Requests that the engine answered, by endpoint and status.",
                &["endpoint", "status"],
            )?,
            errors: counters(
                registry,
                "docker_http_errors_total",
                "Requests that failed, by endpoint and reason.",
                &["endpoint", "reason"],
            )?,
            operation_seconds: histograms(
                registry,
                HistogramOpts::new(
                    "docker_operation_duration_seconds",
                    "Time from asking for a connection to the whole answer, or for a stream to its head.",
                )
                .buckets(LATENCY.to_vec()),
                &["operation"],
            )?,
            connection_errors: counter(
                registry,
                "docker_connection_errors_total",
                "Attempts to connect to the engine that failed.",
            )?,
            connection_seconds: histogram(
                registry,
                HistogramOpts::new(
                    "docker_connection_duration_seconds",
                    "Age of a connection to the engine when it was closed.",
                )
                .buckets(LIFETIME.to_vec()),
            )?,
            pool_wait_seconds: histogram(
                registry,
                HistogramOpts::new(
                    "docker_pool_wait_duration_seconds",
                    "Time that a request waited for a connection, including the time to connect.",
                )
                .buckets(LATENCY.to_vec()),
            )?,
            idle: gauge(
                registry,
                "docker_http_idle_connections",
                "Keep-alive connections that no request uses, as the agent believes.",
            )?,
            active: gauge(
                registry,
                "docker_http_active_connections",
                "Connections in use, including streams, as the agent believes.",
            )?,
            connections: gauges(
                registry,
                "docker_pool_connections",
                "Connections by state (active, idle, unhealthy), as the agent believes.",
                &["state"],
            )?,
            utilization: ratio(
                registry,
                "docker_pool_utilization_ratio",
                "Connections for short requests that are in use, as a share of docker.pool.max_size.",
            )?,
            breaker_state: gauges(
                registry,
                "docker_circuit_breaker_state",
                "1 for the state of the circuit breaker: closed, open, or half_open.",
                &["state"],
            )?,
            recoveries: counter(
                registry,
                "docker_recovery_operations_total",
                "How often the engine answered again after the circuit breaker was open, or an unhealthy connection did.",
            )?,
            pool_operations: counters(
                registry,
                "docker_pool_operations_total",
                "What the pool did: wait (for a free place), open, reuse, recycle (keep for the next request), close.",
                &["operation"],
            )?,
            health_seconds: histogram(
                registry,
                HistogramOpts::new(
                    "docker_health_check_duration_seconds",
                    "Time that a ping over an idle connection took.",
                )
                .buckets(LATENCY.to_vec()),
            )?,
            health_failures: counter(
                registry,
                "docker_health_check_failures_total",
                "Pings over idle connections that failed. A late one fails once for each docker.health.timeout.",
            )?,
        })
    }
}
