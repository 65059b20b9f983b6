//! How every metric is made: one prefix, one registry. What is counted stands in the
//! `metrics.rs` of the part that counts it.

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
};

pub use prometheus::Registry;

const NAMESPACE: &str = "log_capturer";

/// An empty registry that puts the prefix before every name.
pub fn registry() -> prometheus::Result<Registry> {
    Registry::new_custom(Some(NAMESPACE.to_owned()), None)
}

fn enter<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> prometheus::Result<C> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    enter(registry, IntCounter::new(name, help))
}

pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    enter(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    enter(registry, IntGauge::new(name, help))
}

pub fn ratio(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    enter(registry, Gauge::new(name, help))
}

pub fn ratios(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    enter(registry, GaugeVec::new(Opts::new(name, help), labels))
}

pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    enter(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

pub fn histogram(registry: &Registry, opts: HistogramOpts) -> prometheus::Result<Histogram> {
    enter(registry, Histogram::with_opts(opts))
}

pub fn histograms(registry: &Registry, opts: HistogramOpts, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    enter(registry, HistogramVec::new(opts, labels))
}
