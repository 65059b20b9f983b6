//! What is looked at once a second, and where it is written down.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::churn::Churn;
use crate::agent::Agent;
use crate::metrics::Metrics;
use crate::witness;

const EVERY: Duration = Duration::from_secs(1);
/// A drift is read from two counts that are taken one after the other. One that is still there so many samples later is none
/// of those.
const LASTS: usize = 5;

/// A column of the table. Its unit is the end of its name, where it is not a number of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    pub name: &'static str,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows for ever where something is leaked: its slope is to be 0.
    Held,
    /// The same, in KiB.
    Memory,
    /// Is to be 0.
    None,
    /// Only ever grows.
    Counter,
    /// Follows the load.
    Load,
}

impl Kind {
    /// By how much a slope is steeper that matters, a minute: one descriptor, task, … or one MiB an hour.
    pub fn matters(self) -> Option<f64> {
        match self {
            Self::Held => Some(1.0 / 60.0),
            Self::Memory => Some(1024.0 / 60.0),
            Self::None | Self::Counter | Self::Load => None,
        }
    }
}

const fn quantity(name: &'static str, kind: Kind) -> Quantity {
    Quantity { name, kind }
}

/// In the order of [`look`].
pub const QUANTITIES: [Quantity; 26] = [
    quantity("containers_alive", Kind::Load),
    quantity("proc_fds", Kind::Held),
    quantity("process_open_fds", Kind::Held),
    quantity("kernel_fds", Kind::Held),
    quantity("tasks", Kind::Held),
    quantity("threads", Kind::Held),
    quantity("resident_kib", Kind::Memory),
    quantity("anonymous_kib", Kind::Memory),
    quantity("pool_active", Kind::Held),
    quantity("pool_idle", Kind::Held),
    quantity("pool_unhealthy", Kind::Held),
    quantity("kernel_established", Kind::Held),
    quantity("kernel_half_closed", Kind::Held),
    quantity("kernel_peer_gone", Kind::Held),
    quantity("streams_active", Kind::Held),
    quantity("kernel_map_entries", Kind::Held),
    quantity("metric_series", Kind::Held),
    quantity("leaked_connections", Kind::None),
    quantity("leaks_detected_total", Kind::None),
    quantity("fds_growing", Kind::None),
    quantity("drift_iterator", Kind::None),
    quantity("drift_proc", Kind::None),
    quantity("connections_opened_total", Kind::Counter),
    quantity("lines_delivered_total", Kind::Counter),
    quantity("gaps_shown", Kind::Load),
    quantity("cpu_seconds", Kind::Counter),
];

/// The values of [`QUANTITIES`] at a moment.
pub struct Sample {
    pub at: Duration,
    pub values: [f64; QUANTITIES.len()],
}

fn look(agent: &Agent, metrics: &Metrics, containers: usize) -> [f64; QUANTITIES.len()] {
    let pid = agent.pid();
    let sum = |name, labels: &[(&str, &str)]| metrics.sum(name, labels).unwrap_or(0.0);
    let pool = |state| sum("docker_pool_connections", &[("state", state)]);
    let kernel = |state| sum("kernel_connections", &[("state", state)]);
    let drift = |witness| sum("kernel_drift", &[("witness", witness)]);
    let kib = |bytes: u64| bytes as f64 / 1024.0;
    [
        containers as f64,
        witness::descriptors(pid).len() as f64,
        metrics.process("open_fds").unwrap_or(f64::NAN),
        sum("kernel_fds", &[]),
        sum("tasks", &[]),
        witness::threads(pid) as f64,
        kib(witness::resident(pid)),
        kib(witness::allocated(pid)),
        pool("active"),
        pool("idle"),
        pool("unhealthy"),
        kernel("established"),
        kernel("half_closed"),
        kernel("peer_gone"),
        sum("container_streams_active", &[]),
        sum("kernel_map_entries", &[]),
        metrics.samples.len() as f64,
        sum("leaked_connections", &[]),
        sum("leaks_detected_total", &[]),
        sum("kernel_fds_growing", &[]),
        drift("iterator"),
        drift("proc"),
        sum("kernel_connections_opened_total", &[]),
        sum("lines_delivered_total", &[]),
        sum("gaps_total", &[]),
        witness::cpu_time(pid).as_secs_f64(),
    ]
}

#[derive(Default)]
pub struct Samples {
    pub all: Vec<Sample>,
    /// Looks at which the admin server did not answer.
    pub missed: usize,
}

impl Samples {
    /// Looks until the end, into a file of comma-separated values as well: it has what there is also where the run fails.
    pub fn collect(agent: &Agent, churn: &Churn<'_>, length: Duration, csv: Option<&Path>) -> Self {
        let mut csv = csv.map(|path| BufWriter::new(File::create(path).expect("a file for the samples")));
        let mut write = |text: String| {
            if let Some(csv) = &mut csv {
                csv.write_all(text.as_bytes())
                    .and_then(|()| csv.flush())
                    .expect("write a sample");
            }
        };
        let names: Vec<_> = QUANTITIES.iter().map(|it| it.name).collect();
        write(format!("seconds,{}\n", names.join(",")));
        let mut samples = Self::default();
        let start = Instant::now();
        let mut next = start;
        while start.elapsed() < length && !churn.is_over() {
            let at = start.elapsed();
            match agent.admin.metrics() {
                Ok(metrics) => {
                    let values = look(agent, &metrics, churn.alive.load(Ordering::SeqCst));
                    let figures: Vec<_> = values.iter().map(ToString::to_string).collect();
                    write(format!("{:.2},{}\n", at.as_secs_f64(), figures.join(",")));
                    samples.all.push(Sample { at, values });
                }
                Err(error) => {
                    println!("no sample at {:.0} s: {error:#}", at.as_secs_f64());
                    samples.missed += 1;
                }
            }
            next = (next + EVERY).max(Instant::now());
            sleep(next.saturating_duration_since(Instant::now()));
        }
        samples
    }

    /// Minutes and values of one quantity, from that time on.
    pub fn series(&self, name: &str, from: Duration) -> Vec<(f64, f64)> {
        let column = QUANTITIES
            .iter()
            .position(|it| it.name == name)
            .unwrap_or_else(|| panic!("no quantity {name}"));
        let settled = self.all.iter().filter(|sample| sample.at >= from);
        settled
            .map(|sample| (sample.at.as_secs_f64() / 60.0, sample.values[column]))
            .collect()
    }

    /// Of what is to be 0: what was not.
    pub fn complaints(&self) -> Vec<String> {
        let to_be_none = QUANTITIES.iter().filter(|it| it.kind == Kind::None);
        to_be_none
            .filter_map(|quantity| {
                let lasts = if quantity.name.starts_with("drift") { LASTS } else { 1 };
                let series = self.series(quantity.name, Duration::ZERO);
                let mut windows = series.windows(lasts);
                let first = windows.find(|window| window.iter().all(|it| it.1 != 0.0))?[0];
                Some(format!("{} is {} after {:.1} minutes", quantity.name, first.1, first.0))
            })
            .collect()
    }
}
