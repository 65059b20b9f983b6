//! What capture counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};

use crate::delivery;
use crate::metrics::{counter, counters, gauge, gauges, histogram, ratio, ratios};
use crate::record::{Stream, Time};

/// Whether positions can be saved.
#[derive(Debug)]
pub struct CheckpointMetrics {
    /// `positions_saved_timestamp_seconds`.
    pub saved_at: Gauge,
    /// `position_save_failures_total`.
    pub failures: IntCounter,
}

impl CheckpointMetrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            saved_at: ratio(
                registry,
                "positions_saved_timestamp_seconds",
                "When the positions were last saved in state_dir, in seconds since 1970; 0 before the first time.",
            )?,
            failures: counter(
                registry,
                "position_save_failures_total",
                "Attempts to save the positions in state_dir that failed. They are made again every second.",
            )?,
        })
    }
}

/// Seconds; around the default rotation interval of five minutes.
const AGES: &[f64] = &[60.0, 120.0, 180.0, 240.0, 300.0, 360.0];

/// One more in a gauge, while it lives.
#[derive(Debug)]
pub struct Raised(IntGauge);

impl Raised {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The metrics of all containers; those of one are in [`Series`].
#[derive(Debug)]
pub struct Metrics {
    /// `container_streams_active`.
    pub streams_active: IntGauge,
    /// `capture_source`, by source.
    source: IntGaugeVec,
    /// `files_held_deleted_bytes`.
    pub held_deleted: IntGauge,
    /// `stream_pool_utilization_ratio`, from 0 to 1.
    pub utilization: Gauge,
    /// `stream_rotations_total`, by container and whether the kernel has verified it.
    pub rotations: IntCounterVec,
    /// `stream_age_seconds`.
    pub stream_age: Histogram,
    /// `stream_errors_total`, by type.
    pub errors: IntCounterVec,
    /// `lines_read_total`, by container and stream.
    pub lines: IntCounterVec,
    /// `bytes_read_total`, by container and stream.
    pub bytes: IntCounterVec,
    /// `lines_deduplicated_total`.
    pub deduplicated: IntCounter,
    /// `lines_truncated_total`.
    pub truncated: IntCounter,
    /// `gaps_total`, by container.
    pub gaps: IntCounterVec,
    /// `stream_stalls_total`, by container.
    pub stalls: IntCounterVec,
    /// `lines_merged_total`, by container.
    pub merged: IntCounterVec,
    /// `lines_rate_limited_total`, by container.
    pub rate_limited: IntCounterVec,
    /// Lines of all containers that rules have dropped.
    dropped: IntCounter,
    /// Lines that are left out because they are records of the container's own lines.
    pub looped: IntCounter,
    /// `stream_probes_total`, by outcome.
    pub probes: IntCounterVec,
    /// `stream_lag_seconds`, by container.
    pub lag: GaugeVec,
    /// Those who bear a name.
    bearers: Mutex<HashMap<String, Bearers>>,
}

impl Metrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry, delivery: &delivery::Metrics) -> prometheus::Result<Self> {
        Ok(Self {
            streams_active: gauge(
                registry,
                "container_streams_active",
                "Containers whose log is being read.",
            )?,
            source: gauges(
                registry,
                "capture_source",
                "Containers whose log is being read now, by where it is read from.",
                &["source"],
            )?,
            held_deleted: gauge(
                registry,
                "files_held_deleted_bytes",
                "Bytes on the disk of log files that the engine has removed and the agent has not read yet.",
            )?,
            utilization: ratio(
                registry,
                "stream_pool_utilization_ratio",
                "Open log streams as a share of capture.streams.max_concurrent.",
            )?,
            rotations: counters(
                registry,
                "stream_rotations_total",
                "Log streams whose connection was replaced. verified: whether the kernel saw the old connection released; unknown \
                 without the kernel half.",
                &["container", "verified"],
            )?,
            stream_age: histogram(
                registry,
                HistogramOpts::new(
                    "stream_age_seconds",
                    "Age of a log stream's connection when it was replaced.",
                )
                .buckets(AGES.to_vec()),
            )?,
            errors: counters(
                registry,
                "stream_errors_total",
                "Log streams that could not be opened or read.",
                &["error_type"],
            )?,
            lines: counters(
                registry,
                "lines_read_total",
                "Lines that were captured. Repeats do not count.",
                &["container", "stream"],
            )?,
            bytes: counters(
                registry,
                "bytes_read_total",
                "Bytes of the lines that were captured, without their line feeds.",
                &["container", "stream"],
            )?,
            deduplicated: counter(
                registry,
                "lines_deduplicated_total",
                "Lines that a reopened stream repeated. They were recognised and dropped.",
            )?,
            truncated: counter(
                registry,
                "lines_truncated_total",
                "Lines that were longer than capture.max_line_bytes, and were cut.",
            )?,
            lag: ratios(
                registry,
                "stream_lag_seconds",
                "Age of the last line when it was captured. While the container waits for a slot or for another attempt, or the \
                 sinks take no lines, its age now.",
                &["container"],
            )?,
            gaps: counters(
                registry,
                "gaps_total",
                "Resumes at which the last lines were not found again: lines may be missing.",
                &["container"],
            )?,
            stalls: counters(
                registry,
                "stream_stalls_total",
                "Log streams that were silent while their container wrote, and were opened again.",
                &["container"],
            )?,
            merged: counters(
                registry,
                "lines_merged_total",
                "Lines that continued the record of an earlier line. Lines less these are the records.",
                &["container"],
            )?,
            rate_limited: counters(
                registry,
                "lines_rate_limited_total",
                "Lines that were dropped because they were beyond the container's rate limit.",
                &["container"],
            )?,
            dropped: delivery.rate_limited(),
            looped: delivery.looped(),
            probes: counters(
                registry,
                "stream_probes_total",
                "Questions for the last record of a silent stream's log. quiet: the record was known. newer: it was not. \
                 unanswered: the engine did not answer. endless: it looks for the record and does not find it, \
                 because the log was truncated.",
                &["outcome"],
            )?,
            bearers: Mutex::default(),
        })
    }

    /// A log is read from `source` until this is dropped.
    pub fn reads_from(&self, source: &str) -> Raised {
        Raised::new(self.source.with_label_values(&[source]))
    }

    /// A log is read without a slot until this is dropped.
    pub fn active(&self) -> Raised {
        Raised::new(self.streams_active.clone())
    }
}

/// The containers of one name.
#[derive(Debug)]
struct Bearers {
    /// One that was renamed or removed can be gone later than its heir has come.
    count: usize,
    lag: Arc<Lag>,
}

/// The lag of the containers of one name.
#[derive(Debug)]
struct Lag {
    gauge: Gauge,
    /// The time of the last line.
    last: AtomicI64,
    /// When that came.
    came: AtomicI64,
    /// Since when nothing can come; 0 if lines can come.
    waits_since: AtomicI64,
}

/// A container of which a line came as shortly before writes.
const WRITES_NANOS: i64 = 10_000_000_000;

impl Lag {
    fn new(gauge: Gauge) -> Self {
        Self {
            gauge,
            last: AtomicI64::new(0),
            came: AtomicI64::new(i64::MIN),
            waits_since: AtomicI64::new(0),
        }
    }

    /// A line of this time was the last.
    fn came(&self, last: Time, now: Time) {
        self.last.store(last.0, Ordering::Relaxed);
        self.came.store(now.0, Ordering::Relaxed);
        self.waits_since.store(0, Ordering::Relaxed);
        self.show(now);
    }

    /// Nothing can come. A container that wrote until then falls behind; one that was quiet may have nothing to say.
    fn waits(&self, now: Time) {
        let first = self
            .waits_since
            .compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.map_or_else(|since| since, |_| now.0);
        if self.came.load(Ordering::Relaxed) >= since.saturating_sub(WRITES_NANOS) {
            self.show(now);
        }
    }

    fn show(&self, now: Time) {
        let last = self.last.load(Ordering::Relaxed);
        self.gauge.set(now.0.saturating_sub(last).max(0) as f64 / 1e9);
    }
}

impl Metrics {
    /// The sinks take nothing, so nothing is read. To be called again and again.
    pub(super) fn show_waiting(&self) {
        let now = Time::now();
        for of in self.bearers().values() {
            of.lag.waits(now);
        }
    }

    fn bearers(&self) -> MutexGuard<'_, HashMap<String, Bearers>> {
        self.bearers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The series of one container. They go when it does.
#[derive(Debug)]
pub(super) struct Series {
    name: String,
    all: Arc<Metrics>,
    lag: Arc<Lag>,
    lines: [IntCounter; 2],
    bytes: [IntCounter; 2],
}

const VERIFIED: [&str; 3] = ["true", "false", "unknown"];

impl Series {
    pub(super) fn new(name: &str, all: &Arc<Metrics>) -> Self {
        // Held until the series are there: the last bearer of the name may be removing them now.
        let mut bearers = all.bearers();
        let bearers = bearers.entry(name.to_owned()).or_insert_with(|| Bearers {
            count: 0,
            lag: Arc::new(Lag::new(all.lag.with_label_values(&[name]))),
        });
        bearers.count += 1;
        let of =
            |counters: &IntCounterVec| Stream::ALL.map(|stream| counters.with_label_values(&[name, stream.as_str()]));
        Self {
            lag: Arc::clone(&bearers.lag),
            lines: of(&all.lines),
            bytes: of(&all.bytes),
            name: name.to_owned(),
            all: Arc::clone(all),
        }
    }

    /// The container's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn captured(&self, stream: Stream, bytes: usize) {
        self.lines[stream as usize].inc();
        self.bytes[stream as usize].inc_by(bytes as u64);
    }

    /// The last line captured is of this time.
    pub(super) fn lags(&self, last: Time) {
        self.lag.came(last, Time::now());
    }

    /// Nothing can come for now. To be called again and again.
    pub(super) fn waits(&self) {
        self.lag.waits(Time::now());
    }

    pub(super) fn gap(&self) {
        self.all.gaps.with_label_values(&[&self.name]).inc();
    }

    pub(super) fn stalled(&self) {
        self.all.stalls.with_label_values(&[&self.name]).inc();
    }

    /// A line was dropped.
    pub(super) fn rate_limited(&self) {
        self.all.dropped.inc();
        self.all.rate_limited.with_label_values(&[&self.name]).inc();
    }

    /// So many lines went on in a record.
    pub(super) fn merged(&self, lines: u32) {
        if lines > 0 {
            self.all.merged.with_label_values(&[&self.name]).inc_by(lines.into());
        }
    }

    pub(super) fn has_gap(&self) -> bool {
        self.all.gaps.with_label_values(&[&self.name]).get() > 0
    }

    /// A rotation; `released` is what the kernel says of the old connection.
    pub(super) fn rotated(&self, released: Option<bool>) {
        let verified = match released {
            Some(true) => VERIFIED[0],
            Some(false) => VERIFIED[1],
            None => VERIFIED[2],
        };
        let labels = [self.name.as_str(), verified];
        self.all.rotations.with_label_values(&labels).inc();
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let mut bearers = self.all.bearers();
        if let Some(others) = bearers.get_mut(&self.name) {
            others.count -= 1;
            if others.count > 0 {
                return;
            }
            bearers.remove(&self.name);
        }
        // A series that was never made is not there to be removed: no error.
        for stream in Stream::ALL {
            let labels = [self.name.as_str(), stream.as_str()];
            let _ = self.all.lines.remove_label_values(&labels);
            let _ = self.all.bytes.remove_label_values(&labels);
        }
        for verified in VERIFIED {
            let labels = [self.name.as_str(), verified];
            let _ = self.all.rotations.remove_label_values(&labels);
        }
        let _ = self.all.lag.remove_label_values(&[&self.name]);
        let _ = self.all.gaps.remove_label_values(&[&self.name]);
        let _ = self.all.stalls.remove_label_values(&[&self.name]);
        let _ = self.all.merged.remove_label_values(&[&self.name]);
        let _ = self.all.rate_limited.remove_label_values(&[&self.name]);
    }
}

#[cfg(test)]
mod tests;
