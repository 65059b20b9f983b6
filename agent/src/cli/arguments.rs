//! The command line as clap reads it. The reference in the documents is made from this file, so it imports nothing of the
//! agent but the exit codes.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use super::exit::Exit;

/// Streams every container's log, and lets the kernel prove that no connection leaks.
#[derive(Parser)]
#[command(name = "log-capturer", version, after_long_help = exit_codes())]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Shows what has become of every line that was read, by container and sink.
    ///
    /// At each sink, the lines that were read are delivered, deduplicated, dropped, dead, spooled or
    /// waiting. The account goes on after a restart if state_dir is set. Exits with 3 if it does not
    /// add up, or if lines may be missing (a gap).
    Account {
        #[command(flatten)]
        admin: AdminArguments,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Captures the log of every container until SIGTERM or SIGINT.
    ///
    /// Records go to standard output, one JSON object a line, unless the configuration names other
    /// sinks. Messages go to standard error. SIGHUP makes it read the configuration again: what is
    /// wrong changes nothing, and what cannot change without a restart is named. SIGHUP and SIGUSR1
    /// make it open the sinks' files anew.
    Run {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Validates a configuration, without starting anything.
    ///
    /// Exits with 0 if the configuration can be used. Otherwise exits with 2 and prints the file,
    /// the line, the key and what is wrong.
    Check {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Prints a script that completes the command line in a shell.
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Shows the configuration that is in force, and where each value comes from.
    ///
    /// It prints every key in YAML. A comment behind each value names its place in the file, the
    /// variable or the argument, or says that it is the default. Secrets are hidden.
    Config {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Shows the running agent's connections as the kernel sees them.
    ///
    /// Without the kernel half it shows what the agent itself believes, and says so.
    Connections {
        #[command(flatten)]
        admin: AdminArguments,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Shows what stores refused for good, and has it sent again or removed.
    ///
    /// It asks the running agent over a socket in state_dir, which only root and the agent's user
    /// may use. Exits with 3 if any remain.
    DeadLetter {
        #[command(subcommand)]
        command: DeadLetterCommand,
    },
    /// Shows what this host offers: engine, log drivers, kernel half, rights.
    ///
    /// It asks the engine for its version and for each container's log driver, and tries to attach
    /// the kernel half both ways. What does not work is part of the report, and no failure.
    Doctor {
        #[command(flatten)]
        sources: SourceArguments,
        /// Print JSON instead of text
        #[arg(long)]
        json: bool,
    },
    /// Shows the running agent's descriptors by kind, and whether two witnesses count the same.
    ///
    /// Exits with 3 if they do not, or if the descriptors of a kind only ever grow in number.
    Fds {
        #[command(flatten)]
        admin: AdminArguments,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Asks the running agent whether it is alive, for the HEALTHCHECK of a container.
    ///
    /// It asks for /healthz at admin.listen. Exits with 0 if the agent answers, and with 1 if not.
    /// Without --config and --set it takes those of the agent if that is process 1, as in a
    /// container.
    Health {
        #[command(flatten)]
        sources: SourceArguments,
    },
    /// Shows which of the running agent's connections are leaked, and why.
    ///
    /// Exits with 0 if none is. Exits with 3 if some are, or if the descriptors of a kind only ever
    /// grow in number.
    Leaks {
        #[command(flatten)]
        admin: AdminArguments,
        /// Print JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Prints the manual page of the program.
    Man {
        /// Write a page for each command into this folder instead
        #[arg(long = "dir", value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Prints the JSON schema of the configuration, which editors check a file by.
    Schema,
}

#[derive(Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// Shows how many records each sink's store has refused, for which reason, and since when.
    List {
        #[command(flatten)]
        letters: LetterArguments,
    },
    /// Prints each record with the reason and the time, one JSON object a line.
    Show {
        #[command(flatten)]
        letters: LetterArguments,
    },
    /// Sends the records to their stores again.
    ///
    /// What the store acknowledges is removed. What it refuses again is kept with the new reason. It
    /// waits until the store has answered for each record.
    Replay {
        #[command(flatten)]
        letters: LetterArguments,
    },
    /// Removes the records. They are lost.
    Purge {
        #[command(flatten)]
        letters: LetterArguments,
    },
}

#[derive(Args)]
pub(crate) struct LetterArguments {
    #[command(flatten)]
    pub(crate) sources: SourceArguments,
    /// Only those of this sink
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
}

#[derive(Args)]
pub(crate) struct SourceArguments {
    /// The configuration, in YAML; without it every key has its default
    ///
    /// configs/default.yaml shows every key with its default and its meaning.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Override one key, for example capture.rotation.interval=1m
    ///
    /// Can be given more than once. It wins over the configuration file and over the variable of that
    /// key, which is LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL in this example.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Args)]
pub(crate) struct AdminArguments {
    /// Where the running agent's admin server listens (admin.listen)
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8001")]
    pub(crate) admin: String,
}

fn exit_codes() -> String {
    let mut text = "Exit codes:".to_owned();
    for exit in Exit::ALL {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}  {}", exit.code(), exit.meaning());
    }
    text
}
