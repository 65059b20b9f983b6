//! `cargo xtask bench`: measures on this machine.

use std::process::ExitCode;

use anyhow::Result;

use crate::build_ebpf::build_ebpf;
use crate::setup::{self, Part};
use crate::{cargo, say};

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Bench {
    /// What the kernel half costs: the host, other processes, the agent
    Ledger,
}

impl Bench {
    fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
        }
    }
}

/// A goal that is not met is printed as such and is no failure: a busy machine would fail on any day.
pub fn bench(what: Bench, short: bool) -> Result<ExitCode> {
    setup::ensure(&[Part::KernelHalf]);
    say::step("building the kernel half");
    build_ebpf(cargo::root(), None)?;
    say::step("building and running the benchmark");
    let mut bench = cargo::cargo();
    bench.args([
        "bench",
        "--quiet",
        "--package",
        "log-capturer",
        "--bench",
        what.name(),
        "--",
    ]);
    if short {
        bench.arg("--short");
    }
    Ok(if bench.status()?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
