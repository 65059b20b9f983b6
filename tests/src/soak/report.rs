//! What is told of a soak: a table, a verdict, a plot.

use std::path::Path;
use std::time::Duration;

use figures::plot::{Panel, Series, lines};
use figures::table::{NONE, figure, markdown};

use super::samples::{Kind, QUANTITIES, Samples};
use super::tally::Verdict;
use super::trend::Trend;

/// How often noise alone may fail a whole run.
const CHANCE: f64 = 0.05;
/// While what is made once is made: caches, the pool, and the heap, which grows up to the most that was ever needed at a time.
/// The series of a removed container of which a gap was told stay for two minutes.
const WARM_UP_SHARE: u32 = 5;
const WARM_UP_LEAST: Duration = Duration::from_secs(300);
const WARM_UP_MOST: Duration = Duration::from_secs(600);
/// More points to a line are only bytes.
const POINTS: usize = 400;
/// What the agent says of a gap.
const GAP: &str = "lines may be missing";

/// What a soak has found.
pub struct Report {
    /// What was sampled.
    pub samples: Samples,
    /// What became of the lines.
    pub lines: Verdict,
    /// Gaps of containers that were kept, and of such that were removed while they wrote.
    pub gaps: [usize; 2],
    /// What was done.
    pub faults: String,
    /// The time over which samples are averaged.
    pub block: Duration,
    /// Nothing was left over at the end; else a panic has said what.
    pub ended_well: bool,
}

/// How often the agent told of a gap, as in [`Report::gaps`].
pub fn gaps(stderr: &str) -> [usize; 2] {
    ["kept-", "removed-"].map(|sort| {
        let told = stderr.lines().filter(|line| line.contains(GAP) && line.contains(sort));
        told.count()
    })
}

impl Report {
    fn settled(&self) -> Duration {
        let length = self.samples.all.last().map_or(Duration::ZERO, |last| last.at);
        (length / WARM_UP_SHARE).clamp(WARM_UP_LEAST.min(length / 4), WARM_UP_MOST)
    }

    fn trend(&self, name: &str) -> Option<Trend> {
        Trend::of(
            &self.samples.series(name, self.settled()),
            self.block.as_secs_f64() / 60.0,
        )
    }

    /// The report as text, with a table of all quantities.
    pub fn text(&self) -> String {
        let mut rows = vec![
            ["", "mean", "min–max", "slope a minute", "95 % interval", "p", "verdict"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for quantity in QUANTITIES.iter().filter(|quantity| quantity.kind != Kind::Counter) {
            let series = self.samples.series(quantity.name, self.settled());
            let values = || series.iter().map(|it| it.1);
            let mean = values().sum::<f64>() / series.len() as f64;
            let (least, most) = (values().fold(f64::NAN, f64::min), values().fold(f64::NAN, f64::max));
            let digits = if quantity.kind == Kind::Memory { 0 } else { 2 };
            let trend = self.trend(quantity.name).filter(|_| quantity.kind != Kind::Zero);
            let of_trend = |of: &dyn Fn(Trend) -> String| trend.map_or(NONE.to_owned(), of);
            rows.push(vec![
                format!("`{}`", quantity.name),
                figure(mean, digits),
                format!("{least:.0}–{most:.0}"),
                of_trend(&|trend| format!("{:+.4}", trend.slope)),
                of_trend(&|trend| {
                    format!(
                        "{:+.4} to {:+.4}",
                        trend.slope - trend.margin,
                        trend.slope + trend.margin
                    )
                }),
                of_trend(&|trend| figure(trend.chance, 3)),
                judge(quantity.kind, trend, values().all(|value| value == 0.0)).to_owned(),
            ]);
        }
        format!("{}\n{}", markdown(&rows), self.summary())
    }

    fn summary(&self) -> String {
        let Verdict {
            kept,
            removed,
            lines,
            missing,
            doubled,
            lost_by_engine,
            ..
        } = self.lines;
        let whole = |name| {
            let series = self.samples.series(name, Duration::ZERO);
            series.last().map_or(f64::NAN, |it| it.1) - series.first().map_or(f64::NAN, |it| it.1)
        };
        let seconds = self.samples.all.last().map_or(0.0, |last| last.at.as_secs_f64());
        let [of_kept, of_removed] = self.gaps;
        format!(
            "{samples} samples ({missed} missed), the first {settled:.1} minutes left out, blocks of {block} s. \
             {opened:.0} connections opened, {cpu:.1} % of a core.\n\
             {kept} containers kept until they were read, {removed} removed while they wrote: {lines} lines due, {missing} \
             missing, {doubled} doubled; gaps told: {of_kept} and {of_removed}; {lost_by_engine} lines lost by the engine \
             when it was killed.\n{faults}\n",
            samples = self.samples.all.len(),
            missed = self.samples.missed,
            settled = self.settled().as_secs_f64() / 60.0,
            block = self.block.as_secs(),
            opened = whole("connections_opened_total"),
            cpu = 100.0 * whole("cpu_seconds") / seconds,
            faults = self.faults,
        )
    }

    /// What is not as it is to be; of too short a run no slope.
    pub fn failures(&self) -> Vec<String> {
        let slopes = QUANTITIES.iter().filter_map(|quantity| {
            let trend = self.trend(quantity.name)?;
            (!is_noise(quantity.kind, trend)).then(|| format!("{}: {trend:?}", quantity.name))
        });
        let mut failures = self.samples.complaints();
        failures.extend(slopes);
        failures.extend(self.lines.complaints.iter().cloned());
        if !self.ended_well {
            failures.push("something was left over at the end: see above".into());
        }
        let looks = self.samples.missed + self.samples.all.len();
        if self.samples.missed * 20 > looks {
            failures.push(format!("{} of {looks} samples missed", self.samples.missed));
        }
        failures
    }

    /// Draws the most telling quantities over time, as SVG.
    pub fn plot(&self, path: &Path) {
        const PANELS: [(&str, &[&str]); 5] = [
            ("descriptors", &["proc_fds", "kernel_fds"]),
            (
                "connections",
                &["kernel_established", "pool_active", "pool_idle", "kernel_half_closed"],
            ),
            ("tasks, threads", &["tasks", "threads", "containers_alive"]),
            ("memory, KiB", &["resident_kib", "anonymous_kib"]),
            (
                "series at /metrics, entries in the kernel's maps",
                &["metric_series", "kernel_map_entries"],
            ),
        ];
        let panels = PANELS.map(|(caption, names)| {
            let series = names.iter().map(|name| Series {
                label: (*name).to_owned(),
                points: thinned(&self.samples.series(name, Duration::ZERO)),
            });
            Panel {
                caption,
                series: series.collect(),
            }
        });
        lines(&panels, self.settled().as_secs_f64() / 60.0, path).expect("draw the plot");
    }
}

/// Every one of many looks at noise has its chance to look like a leak: each gets a part of what the run may have
/// (Bonferroni). And a slope is none that is known to be too small to matter.
fn is_noise(kind: Kind, trend: Trend) -> bool {
    let Some(matters) = kind.matters() else {
        return true;
    };
    let judged = QUANTITIES
        .iter()
        .filter(|quantity| quantity.kind.matters().is_some())
        .count();
    trend.chance >= CHANCE / judged as f64 || trend.slope.abs() + trend.margin < matters
}

fn judge(kind: Kind, trend: Option<Trend>, is_zero: bool) -> &'static str {
    match (kind, trend) {
        (Kind::Zero, _) if is_zero => "always 0",
        // A drift that did not last is none.
        (Kind::Zero, _) => "not always 0",
        (Kind::Load | Kind::Counter, _) => "the load",
        (_, None) => "too short",
        (_, Some(trend)) if is_noise(kind, trend) => "0 within noise",
        (_, Some(trend)) if trend.slope > 0.0 => "**grows**",
        _ => "**falls**",
    }
}

/// Averages of a few points each.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let some = points.chunks(points.len().div_ceil(POINTS).max(1));
    some.map(|some| {
        let mean = |of: fn(&(f64, f64)) -> f64| some.iter().map(of).sum::<f64>() / some.len() as f64;
        (mean(|it| it.0), mean(|it| it.1))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::samples::Sample;

    /// A run of an hour in which only descriptors grow, so many a minute.
    fn report(leak: f64, seed: u64) -> Report {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut samples = Samples::default();
        for second in 0..3_600_u32 {
            let mut values = [0.0; QUANTITIES.len()];
            for (value, quantity) in values.iter_mut().zip(QUANTITIES) {
                if quantity.kind != Kind::Zero {
                    *value = f64::from(random.u8(25..35));
                }
                if quantity.name == "proc_fds" {
                    *value += (leak * f64::from(second) / 60.0).floor();
                }
            }
            samples.all.push(Sample {
                at: Duration::from_secs(second.into()),
                values,
            });
        }
        Report {
            samples,
            lines: Verdict::default(),
            gaps: [0, 0],
            faults: String::new(),
            block: Duration::from_secs(60),
            ended_well: true,
        }
    }

    #[test]
    fn a_run_that_leaks_a_third_of_a_descriptor_a_minute_fails_and_one_that_does_not_passes() {
        for seed in 0..5 {
            let failures = report(0.3, seed).failures();
            assert!(
                matches!(&failures[..], [only] if only.starts_with("proc_fds")),
                "{failures:?}"
            );
            assert_eq!(report(0.0, seed).failures(), [""; 0]);
        }
        let text = report(0.3, 0).text();
        assert_eq!(text.matches("**grows**").count(), 1, "{text}");
    }

    #[test]
    fn what_is_to_be_none_is_told_where_it_is_not() {
        let mut leaked = report(0.0, 1);
        let column = |name| QUANTITIES.iter().position(|it| it.name == name).expect("a quantity");
        leaked.samples.all[1_000].values[column("leaked_connections")] = 1.0;
        // Gone with the next look: two counts that were taken one after the other.
        leaked.samples.all[1_000].values[column("drift_proc")] = 1.0;
        let failures = leaked.failures();
        assert!(
            matches!(&failures[..], [only] if only.starts_with("leaked_connections")),
            "{failures:?}"
        );
    }
}
