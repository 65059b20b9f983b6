//! The tables, as Markdown.

use std::fmt::Write;

use crate::contestant::Contestant;
use crate::measure::Run;
use crate::results::{Results, Row};

const HEAD: [&str; 15] = [
    "",
    "own CPU s",
    "least–most",
    "÷ curl",
    "÷ bollard",
    "engine CPU s",
    "both",
    "lines/s",
    "RSS MiB",
    "anonymous",
    "fds",
    "threads",
    "p50 / p99 / max ms",
    "missing",
    "doubled",
];

/// One scenario's table. Each figure is the median of the rounds; missing and doubled are the sums.
pub fn table(results: &Results<'_>) -> String {
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    for row in &results.rows {
        let among = |contestant| {
            let mut peers = results.rows.iter().filter(|peer| peer.contestant == contestant);
            peers.find(|peer| peer.work.containers == row.work.containers)
        };
        let ratio = |peer: Option<&Row>| {
            let peer = peer.map_or(f64::NAN, |peer| peer.median(|run| run.own));
            figure(row.median(|run| run.own) / peer, 2)
        };
        let several = results.scenario.works.len() > 1;
        let streams = if several {
            format!(", {}", row.work.containers)
        } else {
            String::new()
        };
        let (least, most) = row.spread(|run| run.own);
        let mebi = |of: fn(&Run) -> u64| figure(row.median(|run| of(run) as f64 / f64::from(1 << 20)), 1);
        let count = |of: fn(&Run) -> u64| figure(row.median(|run| of(run) as f64), 0);
        let sum = |of: fn(&Run) -> u64| row.runs.iter().map(of).sum::<u64>().to_string();
        let late = [0, 1, 2].map(|at| figure(row.median(|run| run.latency[at]), 1));
        rows.push(vec![
            format!("{}{streams}", row.contestant),
            figure(row.median(|run| run.own), 2),
            format!("{least:.2}–{most:.2}"),
            ratio(among(Contestant::Curl)),
            ratio(among(Contestant::Bollard)),
            figure(row.median(|run| run.engine), 2),
            figure(row.median(|run| run.own + run.engine), 2),
            figure(row.median(|run| run.lines as f64 / run.wall), 0),
            mebi(|run| run.held.resident),
            mebi(|run| run.held.anonymous),
            count(|run| run.held.descriptors),
            count(|run| run.held.threads),
            if late[0] == NONE {
                NONE.to_owned()
            } else {
                late.join(" / ")
            },
            sum(|run| run.missing),
            sum(|run| run.doubled),
        ]);
    }
    markdown(&rows)
}

const NONE: &str = "–";

/// With a dash for what was not measured.
pub fn figure(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        NONE.to_owned()
    }
}

/// The first row is the head. Columns in which no row has anything are left out.
pub fn markdown(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let used = (0..columns).filter(|&column| rows.iter().skip(1).any(|row| row[column] != NONE));
    let used: Vec<usize> = used.collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for &column in &used {
            let cell = &row[column];
            let space = " ".repeat(width(column) - cell.chars().count());
            // Names to the left, figures to the right.
            let _ = if column == 0 {
                write!(text, "| {cell}{space} ")
            } else {
                write!(text, "| {space}{cell} ")
            };
        }
        text.push_str("|\n");
        if number == 0 {
            for &column in &used {
                let dashes = "-".repeat(width(column) + 1);
                let _ = if column == 0 {
                    write!(text, "|{dashes}-")
                } else {
                    write!(text, "|{dashes}:")
                };
            }
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_leaves_out_what_nobody_has() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let text = markdown(&[row(["", "a", "b"]), row(["x", "1.0", NONE]), row(["yy", "10.0", NONE])]);
        assert_eq!(text, "|    |    a |\n|----|-----:|\n| x  |  1.0 |\n| yy | 10.0 |\n");
    }

    #[test]
    fn a_figure_that_is_none() {
        assert_eq!(figure(1.0 / 3.0, 2), "0.33");
        assert_eq!(figure(f64::NAN, 2), NONE);
    }
}
