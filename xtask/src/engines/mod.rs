//! `cargo xtask engines`: the promises on each engine that people run, with a table of what passes.

mod table;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;

use anyhow::Result;
use clap::ValueEnum;

use crate::account::{Account, Said};
use crate::build_ebpf::build_ebpf;
use crate::setup::dockerd::{Dockerd, Which};
use crate::setup::{self, Part};
use crate::{cargo, say};
use table::{Column, Outcome};

/// What differs from engine to engine: how it writes, rotates and serves logs, and what it says when it ends.
const ABOUT_ENGINES: [&str; 9] = [
    "cuts::",
    "drivers::",
    "engine_restart::",
    "files::",
    "record::",
    "restart::",
    "rotation::",
    "short_lived::",
    "silence::",
];
/// Another engine, whatever `dockerd` there is.
const NOT_ABOUT_DOCKERD: &str = "podman::";

/// Some that differ from engine to engine, for every run of the tests: more would make that longer than half an hour.
const FOR_EVERY_DAY: [&str; 3] = [
    "drivers::log_files_that_the_engine_rotates_under_load_lose_nothing",
    "files::a_switch_between_files_and_api_neither_loses_nor_doubles_a_line",
    "record::a_record_says_where_and_when_its_line_was_written",
];

#[derive(clap::Args)]
pub struct Options {
    /// Only the promises about lines, rotation, drivers, files and restarts
    #[arg(long)]
    short: bool,
    /// Only on this engine; can be given more than once
    #[arg(long, value_enum)]
    engine: Vec<Which>,
    /// Writes the table into docs/evidence/engines.md
    #[arg(long)]
    write: bool,
    /// Only promises of which the name contains one of these
    filters: Vec<String>,
}

pub fn engines(options: &Options) -> Result<ExitCode> {
    setup::ensure(&[
        Part::KernelHalf,
        Part::Engine,
        Part::Podman,
        Part::Witnesses,
        Part::Collector,
    ]);
    say::step("building the kernel half and the agent");
    build_ebpf(cargo::root(), None)?;
    let agent = cargo::build_agent()?;
    let (mut columns, mut account) = (Vec::new(), Account::default());
    for which in Which::value_variants() {
        if !options.engine.is_empty() && !options.engine.contains(which) {
            continue;
        }
        match Dockerd::get(*which) {
            Ok(dockerd) => {
                say::step(&format!("the promises on {dockerd}"));
                let (column, of_engine) = on(&dockerd, options, &agent)?;
                columns.push(column);
                account.add(of_engine.named(&dockerd.to_string()));
            }
            // It moves, and may need what Debian 12 does not have.
            Err(error) if *which == Which::Forky => say::step(&format!("no engine of Debian forky: {error:#}")),
            Err(error) => return Err(error),
        }
    }
    let table = table::of(&columns);
    println!("{table}");
    if options.write {
        table::write(&table)?;
    }
    account.print();
    let passed = account.failed == 0 && columns.iter().all(|column| !column.is_empty());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn on(dockerd: &Dockerd, options: &Options, agent: &Path) -> Result<(Column, Account)> {
    let mut promises = promises(dockerd, agent)?;
    if !options.filters.is_empty() {
        promises.args(&options.filters);
    } else if options.short {
        promises.args(ABOUT_ENGINES);
    }
    promises.args(["--skip", NOT_ABOUT_DOCKERD]);
    let (column, mut account) = (Mutex::new(Column::of(dockerd)), Account::default());
    let mut child = promises.spawn()?;
    account.follow(Said::by(&mut child)?, |line| {
        if let Some((test, outcome)) = Outcome::said(line) {
            column.lock().expect("noting a line does not panic").note(test, outcome);
        }
    });
    child.wait()?;
    let mut column = column.into_inner().expect("noting a line does not panic");
    for unable in account.found_unable() {
        let (test, reason) = unable.split_once(": ").unwrap_or((unable, ""));
        column.note(test, Outcome::NotRun(reason.to_owned()));
    }
    Ok((column, account))
}

/// A few on Debian 13's engine, of those that are asked for. Whether they passed.
pub fn every_day(agent: &Path, filter: Option<&str>) -> (bool, Account) {
    let mut account = Account::default();
    let asked = FOR_EVERY_DAY.map(|name| filter.is_none_or(|filter| name.contains(filter)).then_some(name));
    let asked: Vec<&str> = asked.into_iter().flatten().collect();
    if asked.is_empty() {
        return (true, account);
    }
    let dockerd = match Dockerd::get(Which::Trixie) {
        Ok(dockerd) => dockerd,
        Err(error) => {
            account
                .unable
                .insert(format!("promises on Debian 13's engine: {error:#}"));
            return (true, account);
        }
    };
    let run = || -> Result<bool> {
        let mut child = promises(&dockerd, agent)?.arg("--exact").args(asked).spawn()?;
        let said = Said::by(&mut child)?.named(&dockerd.to_string());
        account.follow(said, |_| ());
        Ok(child.wait()?.success())
    };
    let passed = run().unwrap_or_else(|error| {
        say::step(&format!("error: {error:#}"));
        account.failed += 1;
        false
    });
    (passed, account.named(&dockerd.to_string()))
}

/// The promises with this engine in the place of the machine's.
fn promises(dockerd: &Dockerd, agent: &Path) -> Result<Command> {
    let mut promises = cargo::cargo();
    promises
        .args(["test", "--test", "promises", "--"])
        .arg(format!("--test-threads={}", cargo::test_threads()))
        .env("LOG_CAPTURER_BIN", agent)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    dockerd.use_in(&mut promises)?;
    Ok(promises)
}
