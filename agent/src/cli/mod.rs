//! The command line: arguments, messages, exit codes.

mod account;
mod arguments;
mod check;
mod config;
mod connections;
mod dead_letter;
mod doctor;
mod exit;
mod fds;
mod generated;
mod health;
mod leaks;
mod print;
mod run;
mod usable;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use self::arguments::{Arguments, Command, SourceArguments};
use self::print::shown;
use crate::config::Sources;
use crate::version;

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
    let matches = Arguments::command().version(version::FULL).get_matches();
    // Clap has just matched them with the same definition.
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match arguments.command {
        Command::Account { admin, json } => shown(account::show(&admin.admin, json)),
        Command::Run { sources } => run::run(&sources.into()),
        Command::Check { sources } => check::check(&sources.into()),
        Command::Completions { shell } => shown(generated::completions(shell)),
        Command::Config { sources } => config::show(&sources.into()),
        Command::Connections { admin, json } => shown(connections::show(&admin.admin, json)),
        Command::DeadLetter { command } => shown(dead_letter::dead_letter(command)),
        Command::Doctor { sources, json } => doctor::doctor(&sources.into(), json),
        Command::Fds { admin, json } => shown(fds::show(&admin.admin, json)),
        Command::Health { sources } => shown(health::health(sources)),
        Command::Leaks { admin, json } => shown(leaks::show(&admin.admin, json)),
        Command::Man { folder } => shown(generated::man(folder.as_deref())),
        Command::Schema => shown(generated::schema()),
    }
}
