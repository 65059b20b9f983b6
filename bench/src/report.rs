//! The tables, as Markdown.

use figures::table::{NONE, figure, markdown};

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
