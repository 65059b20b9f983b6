//! A plot a scenario: what it is about on the left, what that takes on the right.

use std::path::Path;

use anyhow::Result;
use figures::plot::{Bars, Curves, Half, Series, halves};

use crate::contestant::Contestant;
use crate::measure::Run;
use crate::results::{Results, Row};

const MEBI: f64 = (1 << 20) as f64;

type Figure = fn(&Run) -> f64;

pub fn plot(results: &Results<'_>, path: &Path) -> Result<()> {
    let scenario = results.scenario;
    let cpu: [(&str, Figure); 2] = [("own", |run| run.own), ("engine", |run| run.engine)];
    let cpu = || bars(results, "CPU, seconds", &cpu);
    let both = if scenario.works.len() > 1 {
        let memory = |row: &Row| row.median(|run| run.end.resident as f64 / MEBI);
        [
            curves(results, "own CPU, µs a line", Row::own_a_line),
            curves(results, "resident memory at the end, MiB", memory),
        ]
    } else if scenario.late {
        let late: [(&str, Figure); 2] = [("p50", |run| run.latency[0]), ("p99", |run| run.latency[1])];
        [bars(results, "from a line's writing to the sink, ms", &late), cpu()]
    } else {
        let memory: [(&str, Figure); 3] = [
            ("resident, peak", |run| run.most.peak as f64 / MEBI),
            ("resident, at the end", |run| run.end.resident as f64 / MEBI),
            ("anonymous, at the end", |run| run.end.anonymous as f64 / MEBI),
        ];
        [cpu(), bars(results, "memory, MiB", &memory)]
    };
    halves(&format!("{}: {}", scenario.name, scenario.about), &both, path)
}

/// A group of bars for each follower.
fn bars<'a>(results: &Results<'_>, caption: &'a str, figures: &[(&'a str, Figure)]) -> Half<'a> {
    let rows = results.rows.iter().map(|row| {
        let figures = figures.iter().map(|(_, of)| row.median(of));
        (row.contestant.to_string(), figures.collect())
    });
    Half::Bars(Bars {
        caption,
        labels: figures.iter().map(|(label, _)| *label).collect(),
        rows: rows.collect(),
    })
}

/// A line for each follower, from the fewest streams to the most.
fn curves<'a>(results: &Results<'_>, caption: &'a str, of: impl Fn(&Row) -> f64) -> Half<'a> {
    let followers = results.scenario.contestants.iter();
    let series = followers
        .filter(|follower| **follower != Contestant::Nobody)
        .map(|follower| {
            let rows = results.rows.iter().filter(|row| row.contestant == *follower);
            Series {
                label: follower.to_string(),
                points: rows.map(|row| (row.work.containers as f64, of(row))).collect(),
            }
        });
    Half::Curves(Curves {
        caption,
        over: "streams",
        series: series.collect(),
    })
}
