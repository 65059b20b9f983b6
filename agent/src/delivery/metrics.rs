//! What delivery counts.

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use crate::metrics::{counter, counters, gauge, gauges, histograms, ratio, ratios};

/// Seconds, from a store next door to one that ran into its timeout.
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The metrics of all sinks.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `lines_delivered_total`, by sink.
    pub delivered: IntCounterVec,
    /// `delivery_errors_total`, by sink and reason.
    pub errors: IntCounterVec,
    /// `lines_dropped_total`, by sink and reason.
    pub dropped: IntCounterVec,
    /// `dead_letters_total`, by sink and reason.
    pub dead: IntCounterVec,
    /// `dead_letter_records`.
    pub letters: IntGauge,
    /// `sink_waiting_lines`, by sink.
    pub waiting: IntGaugeVec,
    /// `sink_lag_seconds`, by sink.
    pub lag: GaugeVec,
    /// `delivery_drift`, by sink.
    pub drift: IntGaugeVec,
    /// Those of the spools.
    pub spool: SpoolMetrics,
    /// Those of the sinks that send to a store.
    pub network: NetworkMetrics,
}

impl Metrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            delivered: counters(
                registry,
                "lines_delivered_total",
                "Records that the sink has acknowledged. A file or a pipe acknowledges what was written.",
                &["sink"],
            )?,
            errors: counters(
                registry,
                "delivery_errors_total",
                "Attempts to deliver that failed. They are made again.",
                &["sink", "reason"],
            )?,
            dropped: counters(
                registry,
                "lines_dropped_total",
                "Lines that were read and are not delivered. sink is empty if they were dropped before any sink.",
                &["sink", "reason"],
            )?,
            dead: counters(
                registry,
                "dead_letters_total",
                "Records that the sink's store will never take, and that are kept as dead letters.",
                &["sink", "reason"],
            )?,
            letters: gauge(
                registry,
                "dead_letter_records",
                "Records that are kept as dead letters now.",
            )?,
            waiting: gauges(
                registry,
                "sink_waiting_lines",
                "Records that the sink has not acknowledged, and that are not in its spool.",
                &["sink"],
            )?,
            lag: ratios(
                registry,
                "sink_lag_seconds",
                "Age of the oldest record that the sink has not acknowledged; 0 without one.",
                &["sink"],
            )?,
            drift: gauges(
                registry,
                "delivery_drift",
                "Records that were made for the sink or were in its spool at the start, less those that it acknowledged, that it dropped, that are dead, and that wait in its spool or before it: 0 is right.",
                &["sink"],
            )?,
            spool: SpoolMetrics::new(registry)?,
            network: NetworkMetrics::new(registry)?,
        })
    }

    /// Lines that a container's rate limit keeps from all sinks.
    pub fn rate_limited(&self) -> IntCounter {
        self.dropped.with_label_values(&["", "rate_limited"])
    }

    /// Lines that are records of the container's own lines.
    pub fn looped(&self) -> IntCounter {
        self.dropped.with_label_values(&["", "loop"])
    }
}

/// The metrics of all network sinks.
#[derive(Clone, Debug)]
pub struct NetworkMetrics {
    /// `sink_requests_total`, by sink and status.
    pub requests: IntCounterVec,
    /// `sink_request_duration_seconds`, by sink.
    pub seconds: HistogramVec,
    /// `sink_retries_total`, by sink.
    pub retries: IntCounterVec,
    /// `lines_redelivered_total`, by sink.
    pub redelivered: IntCounterVec,
    /// `sink_held`, by sink and reason.
    pub held: IntGaugeVec,
    /// `lines_cut_total`, by sink.
    pub cut: IntCounterVec,
}

impl NetworkMetrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(
                registry,
                "sink_requests_total",
                "Requests that a sink's store answered, by status.",
                &["sink", "status"],
            )?,
            seconds: histograms(
                registry,
                HistogramOpts::new(
                    "sink_request_duration_seconds",
                    "Time from a request of a sink to the whole answer of its store.",
                )
                .buckets(LATENCY.to_vec()),
                &["sink"],
            )?,
            retries: counters(
                registry,
                "sink_retries_total",
                "Requests that were made again because the one before brought no final answer.",
                &["sink"],
            )?,
            redelivered: counters(
                registry,
                "lines_redelivered_total",
                "Records that a sink delivered by a request after one that the store may have stored already.",
                &["sink"],
            )?,
            held: gauges(
                registry,
                "sink_held",
                "1 while the store refuses everything in a way that only a person can mend, by reason.",
                &["sink", "reason"],
            )?,
            cut: counters(
                registry,
                "lines_cut_total",
                "Lines that a sink has cut, because its store would refuse them as too long.",
                &["sink"],
            )?,
        })
    }
}

/// The metrics of all spools.
#[derive(Clone, Debug)]
pub struct SpoolMetrics {
    /// `spool_bytes`.
    pub bytes: IntGauge,
    /// `spool_lines`, by sink.
    pub lines: IntGaugeVec,
    /// `spool_oldest_seconds`.
    pub oldest: Gauge,
    /// `spool_damaged_total`.
    pub damaged: IntCounter,
}

impl SpoolMetrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            bytes: gauge(
                registry,
                "spool_bytes",
                "Bytes on the disk of what waits for sinks that have fallen behind.",
            )?,
            lines: gauges(
                registry,
                "spool_lines",
                "Records that wait for a sink on the disk.",
                &["sink"],
            )?,
            oldest: ratio(
                registry,
                "spool_oldest_seconds",
                "Age of the oldest record that waits on the disk for a sink; 0 without one.",
            )?,
            damaged: counter(
                registry,
                "spool_damaged_total",
                "Damaged places in spools that were stepped over, in segments and in cursors.",
            )?,
        })
    }
}
