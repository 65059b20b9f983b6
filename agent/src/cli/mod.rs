//! The command line: arguments, messages, exit codes.

mod arguments;
mod check;
mod connections;
mod doctor;
mod exit;
mod fds;
mod leaks;
mod print;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command, SourceArguments};
use self::exit::Exit;
use crate::config::{Config, Sources};
use crate::engine::Endpoint;

impl From<SourceArguments> for Sources {
    fn from(arguments: SourceArguments) -> Self {
        Self {
            file: arguments.config,
            overrides: arguments.set,
        }
    }
}

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
        Exit::Unusable.into()
    })
}

/// The exit code of a command that asks the running agent.
fn shown(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        Exit::Failure.into()
    })
}

fn or_dash(text: Option<&str>) -> &str {
    text.unwrap_or("-")
}

/// A container's id as `docker ps` shows it.
fn short(container: Option<&str>) -> String {
    or_dash(container).chars().take(12).collect()
}
