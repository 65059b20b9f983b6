//! `commands.md`: what `--help` prints, from the agent's own definition of its command line.

// The files themselves instead of the agent as a dependency: building it would take minutes.
#[path = "../../../agent/src/cli/arguments.rs"]
mod arguments;
#[path = "../../../agent/src/cli/exit.rs"]
pub mod exit;

use anyhow::Result;
use clap::{Command, CommandFactory};

/// On a terminal that is as wide as a line of the documents.
const WIDTH: usize = 100;

pub fn page() -> Result<String> {
    let mut text = "# Commands\n\n\
        What `log-capturer --help` and `log-capturer COMMAND --help` print. `cargo xtask --help` lists what is\n\
        done with the repository itself.\n"
        .to_owned();
    let mut program = arguments::Arguments::command().term_width(WIDTH);
    // Gives the commands their full names.
    program.build();
    section(&mut program, &mut text);
    for command in program
        .get_subcommands_mut()
        .filter(|command| command.get_name() != "help")
    {
        section(command, &mut text);
        for command in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            section(command, &mut text);
        }
    }
    Ok(text)
}

fn section(command: &mut Command, text: &mut String) {
    let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
    let help = command.render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim()));
}
