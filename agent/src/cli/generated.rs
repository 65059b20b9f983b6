//! What is made of the definition of the command line and of the configuration.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::exit::Exit;
use super::print::print;
use crate::version;

const NAME: &str = "log-capturer";

pub(super) fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    print(&String::from_utf8(script)?)?;
    Ok(Exit::Success.into())
}

/// One page for the program on standard output, or a page for each command in a folder.
pub(super) fn man(folder: Option<&Path>) -> Result<ExitCode> {
    let command = Arguments::command().version(version::FULL);
    if let Some(folder) = folder {
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("cannot write the pages into {}", folder.display()))?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        print(&String::from_utf8(page)?)?;
    }
    Ok(Exit::Success.into())
}

/// `cargo xtask docs` makes it from the types of the configuration.
pub(super) fn schema() -> Result<ExitCode> {
    print(include_str!("../../../configs/schema.json"))?;
    Ok(Exit::Success.into())
}
