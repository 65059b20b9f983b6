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
mod usable;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command, SourceArguments};
use self::print::shown;
use crate::config::Sources;

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
