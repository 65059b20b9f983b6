//! What delivery counts.

use prometheus::{IntCounter, IntCounterVec, Registry};

use crate::metrics::counters;

#[derive(Clone, Debug)]
pub struct Metrics {
    pub delivered: IntCounterVec,
    pub errors: IntCounterVec,
    pub dropped: IntCounterVec,
}

impl Metrics {
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
}
