//! What delivery counts.

use prometheus::{IntCounterVec, Registry};

use crate::metrics::counters;

#[derive(Clone, Debug)]
pub struct Metrics {
    pub delivered: IntCounterVec,
    pub errors: IntCounterVec,
}

impl Metrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            delivered: counters(
                registry,
                "lines_delivered_total",
                "Lines that the sink has acknowledged; for a file or a pipe, that were written.",
                &["sink"],
            )?,
            errors: counters(
                registry,
                "delivery_errors_total",
                "Attempts to deliver that failed, and are made again.",
                &["sink", "reason"],
            )?,
        })
    }
}
