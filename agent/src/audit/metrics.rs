//! What the audits count.

use prometheus::{IntCounter, IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::{counter, counters, gauges};

/// How the ledger of descriptors stands against its witnesses.
#[derive(Clone)]
pub struct DriftMetrics {
    /// `kernel_drift`.
    pub drift: IntGaugeVec,
}

impl DriftMetrics {
    /// Enters it in the registry. It fails if the name is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            drift: gauges(
                registry,
                "kernel_drift",
                "Descriptors of the agent (preexisting + opened - closed) less what a witness counts: 0 is right. proc: \
                 /proc/self/fd. iterator: a walk of the kernel half through the process's table of descriptors.",
                &["witness"],
            )?,
        })
    }
}

/// What the scans for leaks count.
pub struct LeakMetrics {
    /// `leaked_connections`.
    pub leaked: IntGaugeVec,
    /// `leaks_detected_total`.
    pub detected: IntCounterVec,
    /// `leaks_healed_total`.
    pub healed: IntCounter,
    /// `kernel_fds_growing`.
    pub fds_growing: IntGaugeVec,
}

impl LeakMetrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            leaked: gauges(
                registry,
                "leaked_connections",
                "Connections that were leaked at the last scan: the kernel holds them, and they are of no use to the agent.",
                &["reason"],
            )?,
            detected: counters(
                registry,
                "leaks_detected_total",
                "Connections that were found leaked.",
                &["reason"],
            )?,
            healed: counter(
                registry,
                "leaks_healed_total",
                "Leaked connections that the agent ended with shutdown(2), because of kernel.heal.",
            )?,
            fds_growing: gauges(
                registry,
                "kernel_fds_growing",
                "By how many the descriptors of a kind have grown if they only ever grow, else 0. Connections are left out.",
                &["kind"],
            )?,
        })
    }
}
