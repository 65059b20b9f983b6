//! How every metric is made: one prefix, one registry. What is counted stands in the
//! `metrics.rs` of the part that counts it.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Histogram as Shown, Metric, MetricFamily, MetricType};
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

/// A counter that is entered in the registry. Like all of these, it fails if the name is malformed
/// or taken.
pub fn counter(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntCounter> {
    enter(registry, IntCounter::new(name, help))
}

/// A counter for each combination of these labels.
pub fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    enter(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

/// A gauge of whole numbers.
pub fn gauge(registry: &Registry, name: &str, help: &str) -> prometheus::Result<IntGauge> {
    enter(registry, IntGauge::new(name, help))
}

/// A gauge of numbers that are not whole.
pub fn ratio(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Gauge> {
    enter(registry, Gauge::new(name, help))
}

/// As [`ratio`], for each combination of these labels.
pub fn ratios(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    enter(registry, GaugeVec::new(Opts::new(name, help), labels))
}

/// As [`gauge`], for each combination of these labels.
pub fn gauges(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    enter(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

/// A histogram with the buckets that `opts` has.
pub fn histogram(registry: &Registry, opts: HistogramOpts) -> prometheus::Result<Histogram> {
    enter(registry, Histogram::with_opts(opts))
}

/// As [`histogram`], for each combination of these labels.
pub fn histograms(registry: &Registry, opts: HistogramOpts, labels: &[&str]) -> prometheus::Result<HistogramVec> {
    enter(registry, HistogramVec::new(opts, labels))
}

/// A histogram that is kept elsewhere, as it was when it was last shown.
#[derive(Clone)]
pub struct HistogramView {
    desc: Desc,
    shown: Arc<Mutex<Shown>>,
}

impl HistogramView {
    /// An empty histogram that is entered in the registry.
    pub fn new(registry: &Registry, name: &str, help: &str) -> prometheus::Result<Self> {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default());
        enter(
            registry,
            desc.map(|desc| Self {
                desc,
                shown: Arc::default(),
            }),
        )
    }

    /// `buckets`: upper bounds, and how many lie between each and the one before. `beyond`: how many lie beyond the last.
    pub fn show(&self, buckets: impl IntoIterator<Item = (f64, u64)>, beyond: u64, sum: f64) {
        let mut count = 0;
        let cumulated = buckets.into_iter().map(|(bound, within)| {
            count += within;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut shown = Shown::default();
        shown.set_bucket(cumulated.collect());
        shown.set_sample_count(count + beyond);
        shown.set_sample_sum(sum);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }
}

impl Collector for HistogramView {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metric = Metric::from_label(Vec::new());
        metric.set_histogram(self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_that_is_kept_elsewhere() {
        let registry = registry().unwrap();
        let view = HistogramView::new(&registry, "age_seconds", "An age.").unwrap();
        view.show([(0.1, 2), (1.0, 3)], 4, 12.5);
        let text = prometheus::TextEncoder::new()
            .encode_to_string(&registry.gather())
            .unwrap();
        assert_eq!(
            text,
            "# HELP log_capturer_age_seconds An age.\n\
             # TYPE log_capturer_age_seconds histogram\n\
             log_capturer_age_seconds_bucket{le=\"0.1\"} 2\n\
             log_capturer_age_seconds_bucket{le=\"1\"} 5\n\
             log_capturer_age_seconds_bucket{le=\"+Inf\"} 9\n\
             log_capturer_age_seconds_sum 12.5\n\
             log_capturer_age_seconds_count 9\n"
        );
    }
}
