//! What the agent is to reach, as ratios in one run: printed as met or not. A goal that is not met is no failure of the
//! benchmark: a busy machine would fail on any day. Lines that are missing or doubled are one.

use std::fmt::Write;

use figures::table::figure;

use crate::contestant::{Agent, Contestant};
use crate::measure::Run;
use crate::results::{Results, Row};
use crate::scenario::When;

/// `capture.rotation.interval`, seconds: by default, and where it is measured.
const ROTATION: f64 = 300.0;
const OFTEN: f64 = 2.0;
const MEBI: f64 = (1 << 20) as f64;

struct Goal {
    about: &'static str,
    value: f64,
    most: f64,
}

pub fn goals(results: &Results<'_>) -> String {
    let mut text = String::new();
    for Goal { about, value, most } in all(results) {
        // Somebody who is needed for it did not take part.
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
    let agent = &results.scenario.agent;
    let of = |contestant: &Contestant, of: &dyn Fn(&Row) -> f64| {
        let ends = results.ends(contestant);
        ends.map_or(f64::NAN, |(_, row)| of(row))
    };
    let own = |row: &Row| row.median(|run| run.own);
    let both = |row: &Row| row.median(|run| run.own + run.engine);
    let caused = |row: &Row| results.caused(row);
    let ours = Contestant::Agent(agent.clone());
    let files = Contestant::Agent(agent.clone().reading_files());
    let of_files = |figure: &dyn Fn(&Row) -> f64, to: &Contestant| of(&files, figure) / of(to, figure);
    let no_ledger = Contestant::Agent(agent.clone().without_ledger());
    let ratio = |figure: &dyn Fn(&Row) -> f64, to: &Contestant| of(&ours, figure) / of(to, figure);
    let goal = |about, value, most| Goal { about, value, most };
    let when = results.scenario.works.first().map(|work| work.when);
    let ledger = if when == Some(When::Before) {
        "own CPU, ledger on ÷ off, its attach included"
    } else {
        "own CPU, ledger on ÷ off"
    };
    let ledger = goal(ledger, ratio(&own, &no_ledger), 1.01);
    match results.scenario.name {
        "drain" => vec![
            goal("own CPU ÷ curl", ratio(&own, &Contestant::Curl), 1.0),
            goal("own CPU ÷ docker logs -t", ratio(&own, &Contestant::DockerLogs), 0.6),
            goal(
                "CPU of agent and engine ÷ with curl",
                ratio(&both, &Contestant::Curl),
                1.0,
            ),
            ledger,
            goal("from files: own CPU ÷ curl", of_files(&own, &Contestant::Curl), 0.2),
            goal(
                "from files: CPU of agent and engine ÷ own CPU",
                of(&files, &both) / of(&files, &own),
                1.1,
            ),
        ],
        "fan-out" => vec![
            goal("own CPU ÷ bollard", ratio(&own, &Contestant::Bollard), 0.5),
            goal(
                "engine's CPU caused ÷ by bollard",
                ratio(&caused, &Contestant::Bollard),
                1.0,
            ),
            goal(
                "peak resident memory, MiB",
                of(&ours, &|row| row.median(|run| run.most.peak as f64)) / MEBI,
                10.0,
            ),
            goal(
                "resident memory at the end, MiB",
                of(&ours, &|row| row.median(|run| run.end.resident as f64)) / MEBI,
                10.0,
            ),
            ledger,
            goal(
                "from files: own CPU ÷ bollard",
                of_files(&own, &Contestant::Bollard),
                0.35,
            ),
            goal(
                "from files: engine's CPU caused ÷ by bollard",
                of_files(&caused, &Contestant::Bollard),
                0.12,
            ),
            goal(
                "from files: peak resident memory, MiB",
                of(&files, &|row| row.median(|run| run.most.peak as f64)) / MEBI,
                9.0,
            ),
        ],
        "latency" => vec![
            goal("p50, ms", of(&ours, &|row| row.median(|run| run.latency[0])), 2.0),
            goal("p99, ms", of(&ours, &|row| row.median(|run| run.latency[1])), 5.0),
            goal(
                "from files: p99, ms",
                of(&files, &|row| row.median(|run| run.latency[1])),
                5.0,
            ),
        ],
        "idle" => vec![
            goal(
                "of one core",
                of(&ours, &|row| row.median(|run| run.own / run.span)),
                0.01,
            ),
            idle_stream(results, &ours),
        ],
        "rotation" => rotation(results, agent),
        "growth" => vec![cost_of_a_line(results, &ours), idle_stream(results, &ours)],
        _ => vec![ledger],
    }
}

/// What one rotation costs, at the rate of the default interval.
fn rotation(results: &Results<'_>, agent: &Agent) -> Vec<Goal> {
    let at = |interval, of: fn(&Run) -> f64| {
        let ends = results.ends(&Contestant::Agent(agent.clone().rotating(interval)));
        ends.map_or(f64::NAN, |(_, row)| row.median(of))
    };
    let share = |of: fn(&Run) -> f64| {
        let never = at("1h", of);
        (at("2s", of) - never) * OFTEN / ROTATION / never
    };
    let goal = |about, value| Goal {
        about,
        value,
        most: 0.01,
    };
    vec![
        goal("own CPU for rotations at the default interval", share(|run| run.own)),
        goal(
            "engine's CPU for rotations at the default interval",
            share(|run| run.engine),
        ),
    ]
}

/// At the number of streams at which it is dearest.
fn cost_of_a_line(results: &Results<'_>, agent: &Contestant) -> Goal {
    let rows = results.rows.iter().filter(|row| row.contestant == *agent);
    let costs: Vec<f64> = rows.map(Row::own_a_line).collect();
    let (first, most) = (costs.first(), costs.iter().copied().fold(f64::NAN, f64::max));
    Goal {
        about: "own CPU a line, at most ÷ with the fewest streams",
        value: first.map_or(f64::NAN, |first| most / first),
        most: 1.1,
    }
}

fn idle_stream(results: &Results<'_>, agent: &Contestant) -> Goal {
    let ends = results.ends(agent);
    let bytes = ends.map_or(f64::NAN, |(few, many)| {
        many.bytes_a_stream(few, |run| run.idle.resident)
    });
    Goal {
        about: "resident memory for each further idle stream, KiB",
        value: bytes / 1024.0,
        most: 16.0,
    }
}
