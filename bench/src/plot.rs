//! A plot a scenario: bars of processor time, the follower's own, and the engine's beside it.

use std::path::Path;

use anyhow::Result;
use figures::plot::{Bars, bars};

use crate::results::Results;

pub fn plot(results: &Results<'_>, path: &Path) -> Result<()> {
    let rows = results.rows.iter().map(|row| {
        let name = match results.scenario.works.len() {
            1 => row.contestant.to_string(),
            _ => format!("{}, {}", row.contestant, row.work.containers),
        };
        (name, [row.median(|run| run.own), row.median(|run| run.engine)])
    });
    let plot = Bars {
        caption: &format!("{}: CPU seconds, own and engine's", results.scenario.name),
        labels: ["own", "engine"],
        rows: rows.collect(),
    };
    bars(&plot, path)
}
