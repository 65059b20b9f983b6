//! `cargo xtask bench side-by-side`: the agent and its peers on the same containers in turn, several rounds, each line
//! counted. How to read the figures: `docs/performance.md`.

mod contestant;
mod goals;
mod interrupt;
mod measure;
mod output;
mod plot;
mod process;
mod report;
mod results;
mod running;
mod scenario;
mod stage;
mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;

use crate::contestant::{Collector, Contestant};
use crate::results::{Results, Row};
use crate::scenario::{NAMES, Scenario, When};
use crate::stage::Stage;

#[derive(Parser)]
#[command(name = "cargo xtask bench side-by-side --")]
struct Arguments {
    /// Scenarios; all when there is none
    #[arg(value_parser = NAMES)]
    scenarios: Vec<String>,
    /// How often each follower has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Little work and one round, to see that it all works; its figures mean nothing
    #[arg(long)]
    short: bool,
    /// Another collector: NAME=COMMAND. It finds the engine at $DOCKER_HOST, writes to the file $OUT, and may leave
    /// things in the directory $WORK
    #[arg(long, value_name = "NAME=COMMAND")]
    collector: Vec<Collector>,
    /// Where a report.md and a plot of each scenario are written
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[arg(long, hide = true)]
    agent: PathBuf,
    #[arg(long, hide = true)]
    line_writer: PathBuf,
}

fn main() -> Result<ExitCode> {
    let mut arguments = Arguments::parse();
    if arguments.short {
        arguments.rounds = 1;
    }
    if arguments.scenarios.is_empty() {
        arguments.scenarios = NAMES.map(str::to_owned).into();
    }
    if let Some(dir) = &arguments.report {
        fs::create_dir_all(dir)?;
    }
    interrupt::listen()?;
    let stage = Stage::new(&arguments.line_writer)?;
    let mut report = String::new();
    let mut wrong = 0;
    for name in &arguments.scenarios {
        let Some(scenario) = Scenario::named(name, arguments.short, &arguments.collector) else {
            bail!("no scenario {name}");
        };
        let results = play(&stage, &scenario, arguments.rounds, &arguments.agent)?;
        let text = section(&results);
        println!("{text}");
        report.push_str(&text);
        if let Some(dir) = &arguments.report {
            fs::write(dir.join("report.md"), &report)?;
            plot::plot(&results, &dir.join(format!("{name}.svg")))?;
        }
        wrong += agents_wrong_lines(&results);
    }
    if wrong > 0 {
        bail!("log-capturer lost or doubled {wrong} lines");
    }
    Ok(ExitCode::SUCCESS)
}

fn section(results: &Results<'_>) -> String {
    let Scenario { name, about, works, .. } = results.scenario;
    let work = works
        .last()
        .copied()
        .unwrap_or_else(|| unreachable!("a scenario has work"));
    let every = if work.every.is_zero() {
        "at once".to_owned()
    } else {
        format!("one every {:?}", work.every)
    };
    let (containers, lines, length) = (work.containers, work.lines, work.length);
    let what = format!("{containers} × {lines} lines of {length} bytes, {every}");
    let rounds = results.rows.first().map_or(0, |row| row.runs.len());
    let (table, goals) = (report::table(results), goals::goals(results));
    format!("## {name}: {about}\n\n{what}; median of {rounds}\n\n{table}\n{goals}")
}

fn play<'a>(stage: &Stage, scenario: &'a Scenario, rounds: usize, agent: &Path) -> Result<Results<'a>> {
    let mut rows = Vec::new();
    for work in &scenario.works {
        let written = if work.when == When::Before {
            stage.containers(work)?
        } else {
            Vec::new()
        };
        let contestants = scenario.contestants.iter().cloned();
        let mut of_work: Vec<Row> = contestants
            .map(|contestant| Row {
                contestant,
                work: *work,
                runs: Vec::new(),
            })
            .collect();
        for round in 0..rounds {
            for row in &mut of_work {
                eprintln!("{}: round {} of {rounds}, {}", scenario.name, round + 1, row.contestant);
                row.runs.push(measure::measure(
                    stage,
                    scenario,
                    work,
                    &row.contestant,
                    &written,
                    agent,
                )?);
            }
        }
        stage.clear()?;
        rows.extend(of_work);
    }
    Ok(Results { scenario, rows })
}

/// A peer's are figures in a table; ours are defects.
fn agents_wrong_lines(results: &Results<'_>) -> u64 {
    let agents = results
        .rows
        .iter()
        .filter(|row| matches!(row.contestant, Contestant::Agent { .. }));
    agents
        .flat_map(|row| &row.runs)
        .map(|run| run.missing + run.doubled)
        .sum()
}
