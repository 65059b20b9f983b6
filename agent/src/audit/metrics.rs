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
                "Descriptors of the agent, preexisting + opened - closed, less what the witness counts; 0 is right. \
                 proc: /proc/self/fd. iterator: a walk of the kernel part through the process's table of descriptors, by a \
                 test run, which no kernel refuses, and not by a BPF iterator.",
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
                "Connections that the kernel holds for the agent and that are of no use to it, at the last scan.",
                &["reason"],
            )?,
            detected: counters(
                registry,
                "leaks_detected_total",
                "Connections found leaked.",
                &["reason"],
            )?,
            healed: counter(
                registry,
                "leaks_healed_total",
                "Leaked connections that were ended by shutdown (kernel.heal).",
            )?,
            fds_growing: gauges(
                registry,
                "kernel_fds_growing",
                "By how many the descriptors of a kind have grown, connections left out, where they only ever grow; else 0.",
                &["kind"],
            )?,
        })
    }
}
