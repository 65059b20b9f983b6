//! The command line: arguments, messages, exit codes.

mod check;
mod connections;
mod doctor;
mod fds;
mod leaks;
mod print;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Sources};
use crate::engine::Endpoint;

/// Streams every container's log, and lets the kernel prove that no connection leaks.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Captures the log of every container until SIGTERM or SIGINT.
    ///
    /// Records go to standard output, one JSON object a line, unless the configuration names
    /// other sinks; messages go to standard error.
    Run {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Validates a configuration: exit 0, or 2 with file, line, key and what is wrong.
    Check {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Shows the running agent's connections as the kernel sees them.
    Connections {
        #[command(flatten)]
        admin: AdminArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what this host gives: engine and API version, log drivers, the kernel part, rights.
    Doctor {
        #[command(flatten)]
        sources: SourceArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows the running agent's descriptors by kind, and whether others count the same: exit 3 if not, or
    /// if a kind only ever grows.
    Fds {
        #[command(flatten)]
        admin: AdminArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what is leaked now and why: exit 0 with none, 3 with some.
    Leaks {
        #[command(flatten)]
        admin: AdminArguments,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct SourceArguments {
    /// YAML; configs/default.yaml shows every key. Without it: the defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Overrides one value, for example capture.rotation.interval=1m. LOG_CAPTURER_... variables do
    /// the same: LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL=1m.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Args)]
struct AdminArguments {
    /// Where the running agent's admin server is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001")]
    admin: String,
}

impl From<SourceArguments> for Sources {
    fn from(arguments: SourceArguments) -> Self {
        Self {
            file: arguments.config,
            overrides: arguments.set,
        }
    }
}

/// A configuration or a command line that cannot be used.
const UNUSABLE: u8 = 2;

/// The whole program.
pub fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { sources } => run::run(&sources.into()),
        Command::Check { sources } => check::check(&sources.into()),
        Command::Connections { admin, json } => shown(connections::show(&admin.admin, json)),
        Command::Doctor { sources, json } => doctor::doctor(&sources.into(), json),
        Command::Fds { admin, json } => shown(fds::show(&admin.admin, json)),
        Command::Leaks { admin, json } => shown(leaks::show(&admin.admin, json)),
    }
}

/// The configuration, and the way to the engine that it names, with the files that it takes. What is wrong has been said.
fn usable(sources: &Sources) -> Result<(Config, Endpoint), ExitCode> {
    let loaded = sources.load(|config| Endpoint::new(&config.docker).map_err(|error| (error.key, error.message)));
    loaded.map_err(|error| {
        eprintln!("{error}");
        ExitCode::from(UNUSABLE)
    })
}

/// The exit code of a command that asks the running agent.
fn shown(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// A container's id as `docker ps` shows it.
fn short(container: Option<&str>) -> String {
    or_dash(container).chars().take(12).collect()
}
