//! `cargo xtask bench`: measures on this machine.

mod instructions;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::build_ebpf::build_ebpf;
use crate::setup::{self, Part};
use crate::{cargo, say};

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Bench {
    /// What the kernel half costs: the host, other processes, the agent
    Ledger,
    /// What a line costs inside the agent; with --short its instructions, counted and held against the recorded ones
    HotPath,
    /// The agent and its peers on the same containers in turn: processor time, memory, lateness, and every line counted
    SideBySide,
    /// How a faulty engine is noticed and found again, and what that costs: each fault for a minute
    FaultyEngine,
}

/// A goal that is not met is printed as such and is no failure: a busy machine would fail on any day.
pub fn bench(what: Bench, short: bool, arguments: &[String]) -> Result<ExitCode> {
    let mut bench = match what {
        Bench::HotPath if short => return instructions::compare(),
        Bench::HotPath => cargo_bench("hot_path"),
        Bench::Ledger => ledger()?,
        Bench::SideBySide => side_by_side()?,
        Bench::FaultyEngine => faulty_engine(short)?,
    };
    say::step("running the benchmark");
    if !matches!(what, Bench::FaultyEngine) {
        bench.args(short.then_some("--short"));
    }
    bench.args(arguments);
    Ok(if bench.status()?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ledger() -> Result<Command> {
    setup::ensure(&[Part::KernelHalf]);
    say::step("building the kernel half");
    build_ebpf(cargo::root(), None)?;
    Ok(cargo_bench("ledger"))
}

fn cargo_bench(name: &str) -> Command {
    let mut bench = cargo::cargo();
    bench.args(["bench", "--quiet", "--package", "benches", "--bench", name, "--"]);
    bench
}

fn side_by_side() -> Result<Command> {
    setup::ensure(&[Part::KernelHalf, Part::Engine, Part::Peers]);
    say::step("building the kernel half, the agent, its peers and what the containers run");
    build_ebpf(cargo::root(), None)?;
    let agent = cargo::build_agent()?;
    cargo::run(cargo::cargo().args(["build", "--release", "--package", "bench"]))?;
    let mut command = Command::new(agent.with_file_name("side-by-side"));
    command
        .arg("--line-writer")
        .arg(build_line_writer()?)
        .arg(format!("--agent=log-capturer={}", agent.display()));
    Ok(command)
}

/// Static, as an image made of nothing has no libraries; in a directory of its own, as other flags build all anew.
fn build_line_writer() -> Result<PathBuf> {
    let dir = cargo::target_dir()?.join("static");
    let mut build = cargo::cargo();
    build
        .args(["build", "--release", "--package", "line-writer", "--target-dir"])
        .arg(&dir);
    build.env("RUSTFLAGS", "-C target-feature=+crt-static");
    cargo::run(&mut build)?;
    let binary = dir.join("release/line-writer");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// The tests' long form: they print what they measure.
fn faulty_engine(short: bool) -> Result<Command> {
    setup::ensure(&[Part::KernelHalf, Part::Engine, Part::Witnesses]);
    say::step("building the kernel half and the agent");
    build_ebpf(cargo::root(), None)?;
    let agent = cargo::build_agent()?;
    let mut bench = cargo::promises("faulty_engine::", &agent);
    if !short {
        bench.env("LOG_CAPTURER_FAULT_SECONDS", "60");
    }
    Ok(bench)
}
