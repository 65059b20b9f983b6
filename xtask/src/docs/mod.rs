//! `cargo xtask docs`: writes `docs/reference` from the code; `cargo xtask check` fails where it is not what the code gives.

mod attributes;
mod commands;
mod configuration;
mod default_yaml;
mod exit_codes;
mod metrics;
mod prose;
mod record;
mod schema;
mod types;

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::{cargo, say};

const FOLDER: &str = "docs/reference";
/// What the agent prints as its schema. It is JSON, so no notice can stand in it.
const SCHEMA: &str = "configs/schema.json";
const NOTICE: &str = "<!-- Made by `cargo xtask docs` from the code. Change it there. -->\n\n";

type Page = (&'static str, fn() -> Result<String>);

const PAGES: [Page; 5] = [
    ("commands.md", commands::page),
    ("configuration.md", configuration::page),
    ("exit-codes.md", exit_codes::page),
    ("metrics.md", metrics::page),
    ("record.md", record::page),
];

pub fn docs() -> Result<ExitCode> {
    let folder = cargo::root().join(FOLDER);
    std::fs::create_dir_all(&folder)?;
    for (name, page) in PAGES {
        let text = make(name, page)?;
        std::fs::write(folder.join(name), text)?;
        say::step(&format!("wrote {FOLDER}/{name}"));
    }
    std::fs::write(cargo::root().join(SCHEMA), schema::text()?)?;
    say::step(&format!("wrote {SCHEMA}"));
    Ok(ExitCode::SUCCESS)
}

pub fn check() -> Result<()> {
    let mut stale = Vec::new();
    if std::fs::read_to_string(cargo::root().join(SCHEMA)).unwrap_or_default() != schema::text()? {
        stale.push(format!("  {SCHEMA}"));
    }
    for (name, page) in PAGES {
        let text = std::fs::read_to_string(cargo::root().join(FOLDER).join(name)).unwrap_or_default();
        if text != make(name, page)? {
            stale.push(format!("  {FOLDER}/{name}"));
        }
    }
    ensure!(
        stale.is_empty(),
        "not what the code says; run `cargo xtask docs`:\n{}",
        stale.join("\n")
    );
    Ok(())
}

fn make(name: &str, page: fn() -> Result<String>) -> Result<String> {
    let text = page().with_context(|| format!("{FOLDER}/{name} cannot be made"))?;
    Ok(format!("{NOTICE}{text}"))
}
