//! What delivery counts.

use prometheus::{IntCounter, IntCounterVec, Registry};

use crate::metrics::counters;

/// The metrics of all sinks.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `lines_delivered_total`, by sink.
    pub delivered: IntCounterVec,
    /// `delivery_errors_total`, by sink and reason.
    pub errors: IntCounterVec,
    /// `lines_dropped_total`, by sink and reason.
    pub dropped: IntCounterVec,
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
