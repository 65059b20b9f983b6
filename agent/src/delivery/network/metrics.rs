//! What the sinks count that send to a store.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use crate::metrics::{counters, gauges, histograms};

/// Seconds, from a store next door to one that ran into its timeout.
const LATENCY: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// The metrics of all network sinks.
#[derive(Clone, Debug)]
pub struct Metrics {
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

impl Metrics {
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
