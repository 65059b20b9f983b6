//! What is looked at once a second, and where it is written down.

use std::fs::File;
use std::io::Write as _;
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
pub struct Quantity {
    /// The name of the column.
    pub name: &'static str,
    /// How it is judged.
    pub kind: Kind,
    of: fn(&Look<'_>) -> f64,
}

/// How a quantity is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows for ever where something is leaked: its slope is to be 0.
    Held,
    /// The same, in KiB.
    Memory,
    /// Is to be 0.
    Zero,
    /// Only ever grows.
    Counter,
    /// Follows the load.
    Load,
}

impl Kind {
    /// How steep a slope must be to matter, a minute: one descriptor, task, … an hour, or one MiB.
    pub fn matters(self) -> Option<f64> {
        match self {
            Self::Held => Some(1.0 / 60.0),
            Self::Memory => Some(1024.0 / 60.0),
            Self::Zero | Self::Counter | Self::Load => None,
        }
    }
}

const fn quantity(name: &'static str, kind: Kind, of: fn(&Look<'_>) -> f64) -> Quantity {
    Quantity { name, kind, of }
}

/// Everything that is sampled.
pub const QUANTITIES: [Quantity; 26] = [
    quantity("containers_alive", Kind::Load, |look| look.containers as f64),
    quantity("proc_fds", Kind::Held, |look| {
        witness::descriptors(look.pid).len() as f64
    }),
    quantity("process_open_fds", Kind::Held, |look| {
        look.metrics.process("open_fds").unwrap_or(f64::NAN)
    }),
    quantity("kernel_fds", Kind::Held, |look| look.sum("kernel_fds")),
    quantity("tasks", Kind::Held, |look| look.sum("tasks")),
    quantity("threads", Kind::Held, |look| witness::threads(look.pid) as f64),
    quantity("resident_kib", Kind::Memory, |look| {
        witness::resident(look.pid) as f64 / 1024.0
    }),
    quantity("anonymous_kib", Kind::Memory, |look| {
        witness::allocated(look.pid) as f64 / 1024.0
    }),
    quantity("pool_active", Kind::Held, |look| look.pool("active")),
    quantity("pool_idle", Kind::Held, |look| look.pool("idle")),
    quantity("pool_unhealthy", Kind::Held, |look| look.pool("unhealthy")),
    quantity("kernel_established", Kind::Held, |look| look.kernel("established")),
    quantity("kernel_half_closed", Kind::Held, |look| look.kernel("half_closed")),
    quantity("kernel_peer_gone", Kind::Held, |look| look.kernel("peer_gone")),
    quantity("streams_active", Kind::Held, |look| {
        look.sum("container_streams_active")
    }),
    quantity("kernel_map_entries", Kind::Held, |look| look.sum("kernel_map_entries")),
    quantity("metric_series", Kind::Held, |look| look.metrics.samples.len() as f64),
    quantity("leaked_connections", Kind::Zero, |look| look.sum("leaked_connections")),
    quantity("leaks_detected_total", Kind::Zero, |look| {
        look.sum("leaks_detected_total")
    }),
    quantity("fds_growing", Kind::Zero, |look| look.sum("kernel_fds_growing")),
    quantity("drift_iterator", Kind::Zero, |look| look.drift("iterator")),
    quantity("drift_proc", Kind::Zero, |look| look.drift("proc")),
    quantity("connections_opened_total", Kind::Counter, |look| {
        look.sum("kernel_connections_opened_total")
    }),
    quantity("lines_delivered_total", Kind::Counter, |look| {
        look.sum("lines_delivered_total")
    }),
    quantity("gaps_shown", Kind::Load, |look| look.sum("gaps_total")),
    quantity("cpu_seconds", Kind::Counter, |look| {
        witness::cpu_time(look.pid).as_secs_f64()
    }),
];

/// What is there to be looked at.
struct Look<'a> {
    metrics: &'a Metrics,
    pid: u32,
    containers: usize,
}

impl Look<'_> {
    fn sum(&self, name: &str) -> f64 {
        self.of(name, &[])
    }

    fn pool(&self, state: &str) -> f64 {
        self.of("docker_pool_connections", &[("state", state)])
    }

    fn kernel(&self, state: &str) -> f64 {
        self.of("kernel_connections", &[("state", state)])
    }

    fn drift(&self, witness: &str) -> f64 {
        self.of("kernel_drift", &[("witness", witness)])
    }

    /// 0 where there is no such series yet.
    fn of(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.metrics.sum(name, labels).unwrap_or(0.0)
    }
}

/// The values of [`QUANTITIES`] at a moment.
pub struct Sample {
    /// The time since the beginning.
    pub at: Duration,
    /// One for each of [`QUANTITIES`].
    pub values: [f64; QUANTITIES.len()],
}

/// All samples of a soak.
#[derive(Default)]
pub struct Samples {
    /// In the order of time.
    pub all: Vec<Sample>,
    /// Looks at which the admin server did not answer.
    pub missed: usize,
}

impl Samples {
    /// Looks until the end, into a file of comma-separated values as well: it has what there is also where the run fails.
    pub fn collect(agent: &Agent, churn: &Churn<'_>, length: Duration, csv: Option<&Path>) -> Self {
        let mut csv = csv.map(|path| File::create(path).expect("a file for the samples"));
        let mut write = |text: String| {
            if let Some(csv) = &mut csv {
                csv.write_all(text.as_bytes()).expect("write a sample");
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
                    let look = Look {
                        metrics: &metrics,
                        pid: agent.pid(),
                        containers: churn.alive.load(Ordering::SeqCst),
                    };
                    let values = QUANTITIES.map(|quantity| (quantity.of)(&look));
                    let figures = values.map(|value| ((value * 1e3).round() / 1e3).to_string());
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

    /// What was to be 0 and was not.
    pub fn complaints(&self) -> Vec<String> {
        let to_be_zero = QUANTITIES.iter().filter(|it| it.kind == Kind::Zero);
        to_be_zero
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
