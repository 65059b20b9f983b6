//! What the other verbs need of the machine. Each step looks first whether it is done.

mod debian;
pub mod dockerd;
pub mod emulator;
pub mod guest_kernel;
mod source;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, anyhow};

use crate::say;
use debian::Package;
pub use source::mirror;
use tools::CargoTool;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The compiler for the kernel half.
    KernelHalf,
    /// A Docker Engine to start where the machine has none, and what its image is made of.
    Engine,
    /// Another engine, for the tests.
    Podman,
    /// What the tests hold the agent's own figures against.
    Witnesses,
    /// A collector of logs, for the tests.
    Collector,
    /// A virtual machine, and a kernel to run in it.
    Emulator,
    /// What libFuzzer is compiled with.
    Fuzzer,
    /// The licence audit.
    Licences,
    /// What the benchmarks hold the agent's figures against.
    Peers,
    /// What an image is built on where no registry can be reached.
    Image,
}

const ALL: [Part; 10] = [
    Part::KernelHalf,
    Part::Engine,
    Part::Podman,
    Part::Witnesses,
    Part::Collector,
    Part::Emulator,
    Part::Fuzzer,
    Part::Licences,
    Part::Peers,
    Part::Image,
];

impl Part {
    fn why(self) -> &'static str {
        match self {
            Self::KernelHalf => "the compiler for the kernel half",
            Self::Engine => "a Docker Engine, and a busybox to make its image of",
            Self::Podman => "another engine, for the tests",
            Self::Witnesses => "the tests' independent witnesses",
            Self::Collector => "a collector of logs, for the tests",
            Self::Emulator => "a virtual machine, and a kernel to run in it",
            Self::Fuzzer => "the fuzzer",
            Self::Licences => "the licence audit",
            Self::Peers => "the benchmarks' peers",
            Self::Image => "a Debian to build the image on",
        }
    }

    fn packages(self) -> &'static [Package] {
        match self {
            // A nightly with rust-src and a bpf-linker need nothing of Debian's.
            Self::KernelHalf if tools::nightly_builds_core() && tools::BPF_LINKER.is_there() => &[],
            Self::KernelHalf => debian::EBPF_COMPILER,
            Self::Engine => debian::ENGINE,
            Self::Podman => debian::PODMAN,
            Self::Witnesses => debian::WITNESSES,
            Self::Emulator => debian::EMULATOR,
            Self::Fuzzer => debian::FUZZER,
            Self::Collector | Self::Licences => &[],
            Self::Peers => debian::PEERS,
            Self::Image => debian::IMAGE,
        }
    }

    fn tools(self) -> &'static [CargoTool] {
        match self {
            Self::KernelHalf => &[tools::BPF_LINKER],
            Self::Licences => &[tools::CARGO_DENY],
            Self::Engine
            | Self::Podman
            | Self::Witnesses
            | Self::Collector
            | Self::Emulator
            | Self::Fuzzer
            | Self::Peers
            | Self::Image => &[],
        }
    }

    fn ensure(self) -> Result<()> {
        debian::install(self.packages(), self.why())?;
        self.tools().iter().try_for_each(|tool| tool.install(self.why()))?;
        match self {
            Self::Collector => tools::install_collector(),
            Self::Emulator => {
                emulator::ensure()?;
                guest_kernel::ensure()
            }
            _ => Ok(()),
        }
    }
}

/// `cargo xtask setup`: all of it.
pub fn setup() -> Result<ExitCode> {
    let missing = ensure(&ALL);
    if missing.is_empty() {
        say::step("everything is there");
        return Ok(ExitCode::SUCCESS);
    }
    let missing: Vec<_> = missing.into_iter().map(Part::why).collect();
    Err(anyhow!("missing: {}", missing.join("; ")))
}

/// Sets up these parts and gives those that it could not. A caller goes on without them where it
/// can; the reason has been said.
pub fn ensure(parts: &[Part]) -> Vec<Part> {
    let fails = |part: &Part| {
        part.ensure()
            .inspect_err(|error| say::step(&format!("{}: {error:#}", part.why())))
            .is_err()
    };
    parts.iter().copied().filter(fails).collect()
}
