//! `cargo xtask run`: from a bare machine to captured lines.

mod engine;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::build_ebpf::build_ebpf;
use crate::setup::{self, Part};
use crate::{cargo, say};

pub fn run(arguments: &[String]) -> Result<ExitCode> {
    setup::ensure(&[Part::KernelHalf]);
    say::step("building the kernel half");
    if let Err(error) = build_ebpf(cargo::root(), None) {
        say::step(&format!("going on without the kernel half: {error:#}"));
    }
    say::step("building the agent");
    let binary = cargo::build_agent()?;

    // From here on a signal must not end this program before what it starts.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let engine = engine::find_or_start(arguments)?;

    let mut agent = Command::new(binary);
    agent.arg("run").args(engine.arguments()).args(arguments);
    let status = run_agent(agent, signals)?;
    if engine.is_private() {
        say::step("stopping the private engine");
    }
    drop(engine);
    Ok(exit_code(status))
}

/// Runs the agent in a process group of its own: a Ctrl-C at the terminal then reaches it once, from
/// here, and not a second time from the terminal.
fn run_agent(mut agent: Command, mut signals: Signals) -> Result<ExitStatus> {
    let mut child = agent.process_group(0).spawn().context("log-capturer did not start")?;
    let pid = Pid::from_child(&child);
    let handle = signals.handle();
    let forward = std::thread::spawn(move || {
        for signal in signals.forever().filter_map(Signal::from_named_raw) {
            // Not waited for before this thread has been told to end, so the number is still its own.
            let _ = kill_process(pid, signal);
        }
    });
    // Only waits; the child is reaped below, once nobody signals it any more.
    let ended = rustix::process::waitid(
        rustix::process::WaitId::Pid(pid),
        rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
    );
    handle.close();
    forward.join().expect("forwarding does not panic");
    ended?;
    Ok(child.wait()?)
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
