//! What the agent is to reach, as ratios in one run: printed as met or not. A goal that is not met is no failure of the
//! benchmark: a busy machine would fail on any day. Lines that are missing or doubled are one.

use std::fmt::Write;

use figures::table::figure;

use crate::contestant::Contestant;
use crate::measure::Run;
use crate::results::{Results, Row};

/// `capture.rotation.interval`, seconds, by default.
const ROTATION: f64 = 300.0;
const MEBI: f64 = (1 << 20) as f64;

struct Goal {
    about: String,
    value: f64,
    most: f64,
}

pub fn goals(results: &Results<'_>) -> String {
    let mut text = String::new();
    for Goal { about, value, most } in all(results) {
        if value.is_nan() {
            continue;
        }
        let verdict = if value <= most { "met" } else { "not met" };
        let _ = writeln!(
            text,
            "- {about}: {} (goal: at most {}): {verdict}",
            figure(value, 3),
            figure(most, 3)
        );
    }
    text
}

fn all(results: &Results<'_>) -> Vec<Goal> {
    let of =
        |contestant: &Contestant, of: fn(&Run) -> f64| results.row(contestant).map_or(f64::NAN, |row| row.median(of));
    let own = |run: &Run| run.own;
    let engine = |run: &Run| run.engine;
    let both = |run: &Run| run.own + run.engine;
    let agent = Contestant::agent();
    let goal = |about: &str, value: f64, most: f64| Goal {
        about: about.to_owned(),
        value,
        most,
    };
    let ledger = of(&agent, own) / of(&agent.clone().without_ledger(), own);
    let ledger = goal("own CPU, ledger on ÷ off", ledger, 1.01);
    match results.scenario.name {
        "drain" => vec![
            goal("own CPU ÷ curl", of(&agent, own) / of(&Contestant::Curl, own), 1.0),
            goal(
                "own CPU ÷ docker logs -t",
                of(&agent, own) / of(&Contestant::DockerLogs, own),
                0.6,
            ),
            goal(
                "CPU of agent and engine ÷ with curl",
                of(&agent, both) / of(&Contestant::Curl, both),
                1.0,
            ),
            ledger,
        ],
        "fan-out" => vec![
            goal(
                "own CPU ÷ bollard",
                of(&agent, own) / of(&Contestant::Bollard, own),
                0.5,
            ),
            goal(
                "engine's CPU ÷ with bollard",
                of(&agent, engine) / of(&Contestant::Bollard, engine),
                1.0,
            ),
            goal(
                "peak resident memory, MiB",
                of(&agent, |run| run.held.resident as f64) / MEBI,
                10.0,
            ),
            ledger,
        ],
        "latency" => vec![
            goal("p50, ms", of(&agent, |run| run.latency[0]), 2.0),
            goal("p99, ms", of(&agent, |run| run.latency[1]), 5.0),
        ],
        "idle" => vec![goal("of one core", of(&agent, |run| run.own / run.wall), 0.01)],
        "rotation" => rotation(results, &agent),
        "growth" => growth(results, &agent),
        _ => vec![],
    }
}

/// What one rotation costs, at the rate of the default interval.
fn rotation(results: &Results<'_>, agent: &Contestant) -> Vec<Goal> {
    let share = |of: fn(&Run) -> f64| {
        let often = results.row(&agent.clone().rotating("2s"))?.median(of);
        let never = results.row(&agent.clone().rotating("1h"))?.median(of);
        Some((often - never) * 2.0 / ROTATION / never)
    };
    [
        ("own CPU for rotations at the default interval", share(|run| run.own)),
        (
            "engine's CPU for rotations at the default interval",
            share(|run| run.engine),
        ),
    ]
    .map(|(about, value)| Goal {
        about: about.to_owned(),
        value: value.unwrap_or(f64::NAN),
        most: 0.01,
    })
    .into()
}

fn growth(results: &Results<'_>, agent: &Contestant) -> Vec<Goal> {
    let mut rows = results.rows.iter().filter(|row| row.contestant == *agent);
    let (Some(first), Some(last)) = (rows.next(), rows.next_back()) else {
        return vec![];
    };
    let a_line = |row: &Row| row.median(|run| run.own / run.lines as f64);
    let resident = |row: &Row| row.median(|run| run.held.resident as f64);
    let more = (last.work.containers - first.work.containers) as f64;
    let streams = format!("{} to {} streams", first.work.containers, last.work.containers);
    vec![
        Goal {
            about: format!("CPU a line, {streams}"),
            value: a_line(last) / a_line(first),
            most: 1.1,
        },
        Goal {
            about: format!("resident memory for each further stream, KiB, {streams}"),
            value: (resident(last) - resident(first)) / more / 1024.0,
            most: 16.0,
        },
    ]
}
