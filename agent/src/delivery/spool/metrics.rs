//! What is counted of spools.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::{counters, gauges, ratios};

/// The metrics of all spools.
#[derive(Clone, Debug)]
pub struct SpoolMetrics {
    /// `spool_bytes`, by sink.
    pub bytes: IntGaugeVec,
    /// `spool_lines`, by sink.
    pub lines: IntGaugeVec,
    /// `spool_oldest_seconds`, by sink.
    pub oldest: GaugeVec,
    /// `spool_damaged_total`, by sink and what was damaged.
    pub damaged: IntCounterVec,
}

impl SpoolMetrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            bytes: gauges(
                registry,
                "spool_bytes",
                "Bytes on the disk of what waits for a sink that has fallen behind.",
                &["sink"],
            )?,
            lines: gauges(
                registry,
                "spool_lines",
                "Records that wait for a sink on the disk.",
                &["sink"],
            )?,
            oldest: ratios(
                registry,
                "spool_oldest_seconds",
                "Age of the oldest record that waits for a sink on the disk; 0 without one.",
                &["sink"],
            )?,
            damaged: counters(
                registry,
                "spool_damaged_total",
                "Damaged places in a spool that were stepped over, by what they were part of: segment or cursor.",
                &["sink", "part"],
            )?,
        })
    }
}
