//! The tables, as Markdown. Each figure is the median of the rounds; missing and doubled are the sums.

use std::fmt::Write;

use figures::table::{NONE, figure, markdown};

use crate::contestant::Contestant;
use crate::goals;
use crate::measure::Run;
use crate::results::{Results, Row};
use crate::scenario::Scenario;

const KIBI: f64 = 1024.0;
const MEBI: f64 = 1024.0 * KIBI;

/// One scenario.
pub fn section(results: &Results<'_>) -> String {
    let Scenario { name, about, works, .. } = results.scenario;
    let mut text = format!("## {name}: {about}\n\n");
    for work in works {
        let every = if work.every.is_zero() {
            "at once".to_owned()
        } else {
            format!("one every {:?}", work.every)
        };
        let (containers, lines, length) = (work.containers, work.lines, work.length);
        let _ = writeln!(text, "{containers} × {lines} lines of {length} bytes, {every}  ");
    }
    let rounds = results.rows.first().map_or(0, |row| row.runs.len());
    let _ = writeln!(text, "median of {rounds}");
    let growing = works.len() > 1;
    for table in [time(results), memory(results)]
        .into_iter()
        .chain(growing.then(|| growth(results)))
    {
        let _ = write!(text, "\n{}", markdown(&table));
    }
    let _ = writeln!(text, "\n{}", goals::goals(results));
    text
}

type Table = Vec<Vec<String>>;

/// Processor time, and what came of it.
fn time(results: &Results<'_>) -> Table {
    let head = [
        "",
        "own CPU s",
        "least–most",
        "÷ curl",
        "÷ bollard",
        "engine CPU s",
        "caused",
        "own + engine",
        "lines/s",
        "p50 / p99 / max ms",
        "missing",
        "doubled",
    ];
    table(results, &head, |row| {
        let own = |row: &Row| row.median(|run| run.own);
        let ratio = |contestant| {
            let peer = results.beside(row, &contestant);
            figure(own(row) / peer.map_or(f64::NAN, own), 2)
        };
        let nobody = row.contestant == Contestant::Nobody;
        let unless_nobody = |cell: String| if nobody { NONE.to_owned() } else { cell };
        let (least, most) = row.spread(|run| run.own);
        let late = [0, 1, 2].map(|at| figure(row.median(|run| run.latency[at]), 1));
        let sum = |of: fn(&Run) -> u64| row.runs.iter().map(of).sum::<u64>().to_string();
        vec![
            unless_nobody(figure(own(row), 2)),
            unless_nobody(format!("{least:.2}–{most:.2}")),
            unless_nobody(ratio(Contestant::Curl)),
            unless_nobody(ratio(Contestant::Bollard)),
            figure(row.median(|run| run.engine), 2),
            unless_nobody(figure(results.caused(row), 2)),
            unless_nobody(figure(row.median(|run| run.own + run.engine), 2)),
            unless_nobody(figure(row.median(|run| run.lines as f64 / run.wall), 0)),
            if late[0] == NONE {
                NONE.to_owned()
            } else {
                late.join(" / ")
            },
            unless_nobody(sum(|run| run.missing)),
            unless_nobody(sum(|run| run.doubled)),
        ]
    })
}

/// What it holds.
fn memory(results: &Results<'_>) -> Table {
    let head = [
        "",
        "RSS MiB, peak",
        "idle",
        "at the end",
        "anonymous MiB, peak",
        "idle",
        "at the end",
        "fds",
        "threads",
    ];
    table(results, &head, |row| {
        let median = |of: fn(&Run) -> u64, unit: f64, digits| {
            let value = row.median(|run| of(run) as f64);
            figure(if value > 0.0 { value / unit } else { f64::NAN }, digits)
        };
        let mebi = |of| median(of, MEBI, 1);
        let count = |of| median(of, 1.0, 0);
        vec![
            mebi(|run| run.most.peak),
            mebi(|run| run.idle.resident),
            mebi(|run| run.end.resident),
            mebi(|run| run.most.anonymous),
            mebi(|run| run.idle.anonymous),
            mebi(|run| run.end.anonymous),
            count(|run| run.most.descriptors),
            count(|run| run.most.threads),
        ]
    })
}

/// What a stream more costs, against the fewest streams.
fn growth(results: &Results<'_>) -> Table {
    let head = [
        "",
        "own CPU µs a line",
        "KiB RSS a further stream, idle",
        "at the end",
        "KiB anonymous a further stream, idle",
        "at the end",
    ];
    table(results, &head, |row| {
        let further = |of| {
            let ends = results.ends(&row.contestant);
            let bytes = ends.map_or(f64::NAN, |(fewest, _)| row.bytes_a_stream(fewest, of));
            let nobody = row.contestant == Contestant::Nobody;
            figure(if nobody { f64::NAN } else { bytes / KIBI }, 1)
        };
        vec![
            figure(row.own_a_line(), 2),
            further(|run| run.idle.resident),
            further(|run| run.end.resident),
            further(|run| run.idle.anonymous),
            further(|run| run.end.anonymous),
        ]
    })
}

/// A row for each of the results', whose first cell names it. Rows in which nothing else is are left out.
fn table(results: &Results<'_>, head: &[&str], cells: impl Fn(&Row) -> Vec<String>) -> Table {
    let mut table = vec![head.iter().map(ToString::to_string).collect()];
    for row in &results.rows {
        let cells = cells(row);
        if cells.iter().any(|cell| cell != NONE) {
            table.push([vec![results.name(row)], cells].concat());
        }
    }
    table
}
