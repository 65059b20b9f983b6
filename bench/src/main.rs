//! `cargo xtask bench side-by-side`: the agent and its peers on the same containers in turn, several rounds, each line
//! counted. How to read the figures: `docs/evidence/performance.md`.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]

mod contestant;
mod goals;
mod interrupt;
mod machine;
mod measure;
mod output;
mod plot;
mod process;
mod raw;
mod report;
mod results;
mod running;
mod scenario;
mod stage;
mod tally;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Parser;

use crate::contestant::{Contestant, Named};
use crate::measure::Turn;
use crate::results::{Results, Row};
use crate::scenario::{Company, NAMES, Scenario, When};
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
    /// Only this follower, as the tables name it; without its settings it is all of them. Can be repeated; what nobody
    /// is there for is left out: a goal, a ratio, or with `nobody` what the engine does anyhow
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Another build of the agent: NAME=PATH. Can be repeated
    #[arg(long, value_name = "NAME=PATH")]
    agent: Vec<Named>,
    /// Another collector: NAME=COMMAND. It finds the engine at $DOCKER_HOST, writes to the file $OUT, and may leave
    /// things in the directory $WORK. Can be repeated
    #[arg(long, value_name = "NAME=COMMAND")]
    collector: Vec<Named>,
    /// Where report.md, figures.csv and a plot of each scenario are written
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[arg(long, hide = true)]
    line_writer: PathBuf,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let rounds = if arguments.short { 1 } else { arguments.rounds };
    let company = Company {
        agents: arguments.agent,
        collectors: arguments.collector,
        only: arguments.only,
    };
    let mut names = arguments.scenarios;
    if names.is_empty() {
        names = NAMES.map(str::to_owned).into();
    }
    let scenarios = names
        .iter()
        .filter_map(|name| Scenario::named(name, arguments.short, &company));
    let scenarios: Vec<_> = scenarios.filter(|scenario| !scenario.contestants.is_empty()).collect();
    ensure!(!scenarios.is_empty(), "nobody named {:?} takes part", company.only);
    interrupt::listen()?;
    let stage = Stage::new(&arguments.line_writer)?;
    let mut report = Report::new(arguments.report, &stage)?;
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let results = play(&stage, scenario, rounds)?;
        report.add(&results)?;
        wrong.extend(wrong_agents(&results));
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(ExitCode::SUCCESS)
}

fn play<'a>(stage: &Stage, scenario: &'a Scenario, rounds: usize) -> Result<Results<'a>> {
    let mut rows = Vec::new();
    for work in &scenario.works {
        let containers = if work.when == When::AtStart {
            Vec::new()
        } else {
            stage.containers(work)?
        };
        let contestants = scenario.contestants.iter().cloned();
        let mut of_work: Vec<Row> = contestants
            .map(|contestant| Row {
                contestant,
                work: *work,
                runs: Vec::new(),
            })
            .collect();
        let mut number = 0;
        for round in 1..=rounds {
            for row in &mut of_work {
                let (name, streams) = (scenario.name, work.containers);
                eprintln!(
                    "{name}, {streams} streams: round {round} of {rounds}, {}",
                    row.contestant
                );
                number += 1;
                row.runs.push(measure::measure(
                    stage,
                    &Turn {
                        scenario,
                        work,
                        contestant: &row.contestant,
                        containers: &containers,
                        number,
                    },
                )?);
            }
        }
        stage.clear()?;
        rows.extend(of_work);
    }
    Ok(Results { scenario, rows })
}

/// A peer's wrong lines are figures in a table; ours are defects.
fn wrong_agents(results: &Results<'_>) -> Vec<String> {
    let agents = results
        .rows
        .iter()
        .filter(|row| matches!(row.contestant, Contestant::Agent(_)));
    let wrong = agents.filter_map(|row| {
        let (missing, doubled) = row.runs.iter().fold((0, 0), |(missing, doubled), run| {
            (missing + run.missing, doubled + run.doubled)
        });
        let (scenario, name) = (results.scenario.name, results.name(row));
        (missing + doubled > 0).then(|| format!("{scenario}: {name}: {missing} lines missing, {doubled} doubled"))
    });
    wrong.collect()
}

/// What has been measured so far, written after each scenario: a long run may be interrupted.
struct Report {
    dir: Option<PathBuf>,
    text: String,
    raw: String,
}

impl Report {
    fn new(dir: Option<PathBuf>, stage: &Stage) -> Result<Self> {
        if let Some(dir) = &dir {
            fs::create_dir_all(dir)?;
        }
        let text = machine::describe(&stage.engine);
        print!("{text}");
        Ok(Self {
            dir,
            text,
            raw: raw::HEAD.to_owned(),
        })
    }

    fn add(&mut self, results: &Results<'_>) -> Result<()> {
        let section = report::section(results);
        print!("{section}");
        let name = results.scenario.name;
        self.text.push_str(&section);
        self.text.push_str(&format!("![{name}]({name}.svg)\n\n"));
        self.raw.push_str(&raw::rows(results));
        let Some(dir) = &self.dir else {
            return Ok(());
        };
        fs::write(dir.join("report.md"), &self.text)?;
        fs::write(dir.join("figures.csv"), &self.raw)?;
        plot::plot(results, &dir.join(name).with_extension("svg"))
    }
}
