//! What delivery counts.

use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec, Registry};

use super::network;
use crate::metrics::{counters, gauges, ratios};

/// The metrics of all sinks.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `lines_delivered_total`, by sink.
    pub delivered: IntCounterVec,
    /// `delivery_errors_total`, by sink and reason.
    pub errors: IntCounterVec,
    /// `lines_dropped_total`, by sink and reason.
    pub dropped: IntCounterVec,
    /// `sink_waiting_lines`, by sink.
    pub waiting: IntGaugeVec,
    /// `sink_lag_seconds`, by sink.
    pub lag: GaugeVec,
    /// `delivery_drift`, by sink.
    pub drift: IntGaugeVec,
    /// Those of the sinks that send to a store.
    pub network: network::Metrics,
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
            waiting: gauges(
                registry,
                "sink_waiting_lines",
                "Records that the sink has not acknowledged.",
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
                "Records that were made for the sink, less those that it acknowledged, that it dropped, and that wait: 0 is right.",
                &["sink"],
            )?,
            network: network::Metrics::new(registry)?,
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
