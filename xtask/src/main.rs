//! `cargo xtask`: everything that is done with this repository, a file a verb.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]

mod account;
mod bench;
mod build_ebpf;
mod cargo;
mod check;
mod docs;
mod engines;
mod files;
mod fuzz;
mod image;
mod run;
mod say;
mod setup;
mod soak;
mod source;
mod test;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
/// Builds, runs, tests and checks log-capturer.
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sets up, builds, and captures the log of every container to standard output.
    ///
    /// The engine is the one at DOCKER_HOST or /var/run/docker.sock. Where none answers, a private
    /// one is started with a few containers that write logs, and stopped at the end.
    Run {
        /// Handed on to `log-capturer run`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Sets up, builds, and runs every test; names those that this machine cannot run.
    Test {
        /// The engine that tests start
        #[arg(long, value_enum, default_value = "installed")]
        engine: setup::dockerd::Which,
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Runs the promises on each engine: the machine's own, Debian 13's, and that of Debian's next release.
    ///
    /// The newer ones are unpacked from Debian's packages; nothing is installed.
    Engines(engines::Options),
    /// Runs the kernel half's tests in a virtual machine, on the distribution's own kernel or another.
    VmTest(vm::Options),
    /// Searches for input that the decoders, the resume logic or the patterns treat otherwise than a plain model does.
    Fuzz {
        /// Only this target
        target: Option<String>,
        /// How long to search, for each target
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Measures, and prints a table with the goals.
    Bench {
        #[arg(value_enum)]
        what: bench::Bench,
        /// A few seconds, for a look; the figures to quote come from the long form
        #[arg(long)]
        short: bool,
        /// Handed on to the benchmark; `-- --help` says what it takes
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Lets the agent soak in churn of containers and faults, and fails where anything grows or a line is missing.
    ///
    /// LOG_CAPTURER_SEED has the random numbers of an earlier run again.
    Soak {
        /// How long; slopes are judged from twenty minutes on
        #[arg(long, default_value_t = 30)]
        minutes: u32,
        /// Where the samples, the table and the plot are written: soak.csv, soak.md, soak.svg
        #[arg(long, value_name = "DIR")]
        report: Option<PathBuf>,
    },
    /// Builds the kernel half, which the agent then embeds.
    BuildEbpf {
        /// The compiler; without it LOG_CAPTURER_EBPF_COMPILER, or the one that is found
        #[arg(long)]
        compiler: Option<build_ebpf::Compiler>,
    },
    /// Builds the image of the agent, and tries it on a private engine.
    Image(image::Options),
    /// Format, lints, licences, the rules of the house, and the documents.
    Check {
        /// Only checks whose name contains this
        filter: Option<String>,
    },
    /// Writes docs/reference from the code.
    Docs,
    /// Installs what the other verbs need; each calls it for its own part.
    Setup,
}

fn main() -> ExitCode {
    // Not `fn main() -> Result`: with RUST_BACKTRACE set, as in many a CI, it would bury the message.
    do_verb(Arguments::parse().verb).unwrap_or_else(|error| {
        say::step(&format!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn do_verb(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run { arguments } => run::run(&arguments),
        Verb::Test { engine, filter } => test::test(engine, filter.as_deref()),
        Verb::Engines(options) => engines::engines(&options),
        Verb::VmTest(options) => vm::vm_test(&options),
        Verb::Bench { what, short, arguments } => bench::bench(what, short, &arguments),
        Verb::Fuzz { target, seconds } => fuzz::fuzz(target.as_deref(), seconds),
        Verb::Soak { minutes, report } => soak::soak(minutes, report.as_deref()),
        Verb::BuildEbpf { compiler } => {
            setup::ensure(&[setup::Part::KernelHalf]);
            say::step(&format!(
                "built {}",
                build_ebpf::build_ebpf(cargo::root(), compiler)?.display()
            ));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Image(options) => image::image(&options),
        Verb::Check { filter } => check::check(filter.as_deref()),
        Verb::Docs => docs::docs(),
        Verb::Setup => setup::setup(),
    }
}
