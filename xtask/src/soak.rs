//! `cargo xtask soak`: the agent under churn and faults, for long.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::build_ebpf::build_ebpf;
use crate::setup::{self, Part};
use crate::{cargo, say};

/// The test's long form: it samples, judges and prints.
pub fn soak(minutes: u32, report: Option<&Path>) -> Result<ExitCode> {
    setup::ensure(&[Part::KernelHalf, Part::Engine, Part::Witnesses]);
    say::step("building the kernel half and the agent");
    build_ebpf(cargo::root(), None)?;
    let agent = cargo::build_agent()?;
    say::step(&format!("soaking for {minutes} minutes"));
    let mut test = cargo::promises("soak::", &agent);
    test.env("LOG_CAPTURER_SOAK_SECONDS", (60 * minutes).to_string());
    if let Some(dir) = report {
        // The test runs in another directory.
        test.env("LOG_CAPTURER_SOAK_REPORT", std::path::absolute(dir)?);
    }
    Ok(if test.status()?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
