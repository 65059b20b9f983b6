//! What is counted of reloads.

use prometheus::{Gauge, IntGauge, Registry};

use crate::metrics::{gauge, ratio};
use crate::record::Time;

/// How the last reload went.
pub(super) struct Metrics {
    successful: IntGauge,
    succeeded_at: Gauge,
}

impl Metrics {
    /// The configuration that the agent starts with counts as the first one.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            successful: gauge(
                registry,
                "config_last_reload_successful",
                "Whether the configuration was in order when it was last read, at the start or at SIGHUP: 1, or 0.",
            )?,
            succeeded_at: ratio(
                registry,
                "config_last_reload_success_timestamp_seconds",
                "When the configuration was last read and was in order, in seconds since 1970.",
            )?,
        };
        metrics.succeeded();
        Ok(metrics)
    }

    /// The configuration was read, and could be used.
    pub(super) fn succeeded(&self) {
        self.successful.set(1);
        self.succeeded_at.set(Time::now().0 as f64 / 1e9);
    }
    /// It was not.
    pub(super) fn failed(&self) {
        self.successful.set(0);
    }
}
