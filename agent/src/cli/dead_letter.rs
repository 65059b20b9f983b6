//! What stores refused for good, as the running agent keeps it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::arguments::{DeadLetterCommand, LetterArguments};
use super::exit::Exit;
use super::print::{print, table};
use crate::admin::{Done, Held, Letter, client, socket};
use crate::config::Sources;

pub(super) fn dead_letter(command: DeadLetterCommand) -> Result<ExitCode> {
    match command {
        DeadLetterCommand::List { letters } => list(letters),
        DeadLetterCommand::Show { letters } => show(letters),
        DeadLetterCommand::Replay { letters } => {
            let done = change(letters, "replay")?;
            let Done {
                removed,
                refused,
                remaining,
            } = done;
            print(&format!(
                "{removed} delivered, {refused} refused again, {remaining} remain\n"
            ))?;
            Ok(found(remaining > 0))
        }
        DeadLetterCommand::Purge { letters } => {
            let done = change(letters, "purge")?;
            print(&format!("{} removed, {} remain\n", done.removed, done.remaining))?;
            Ok(found(done.remaining > 0))
        }
    }
}

fn found(any: bool) -> ExitCode {
    if any { Exit::Found } else { Exit::Success }.into()
}

/// How many there are for each sink and reason, and since when.
fn list(letters: LetterArguments) -> Result<ExitCode> {
    let mut groups: BTreeMap<(String, String), (usize, String, String)> = BTreeMap::new();
    each(letters, |text| {
        let Letter {
            refused, sink, reason, ..
        } = serde_json::from_str(text).context("the agent's answer")?;
        let first = || (0, refused.clone(), String::new());
        let (count, _, last) = groups.entry((sink, reason)).or_insert_with(first);
        *count += 1;
        *last = refused;
        Ok(())
    })?;
    if groups.is_empty() {
        print("there are no dead letters\n")?;
        return Ok(found(false));
    }
    let mut rows = vec![
        ["SINK", "REASON", "RECORDS", "FIRST REFUSED", "LAST REFUSED"]
            .map(String::from)
            .to_vec(),
    ];
    rows.extend(
        groups
            .into_iter()
            .map(|((sink, reason), (count, first, last))| vec![sink, reason, count.to_string(), first, last]),
    );
    print(&table(&rows))?;
    Ok(found(true))
}

/// Each letter with its record: a line of JSON.
fn show(letters: LetterArguments) -> Result<ExitCode> {
    let mut any = false;
    each(letters, |text| {
        any = true;
        Ok(print(&format!("{text}\n"))?)
    })?;
    Ok(found(any))
}

/// Calls `with` for each letter, in the order in which they were refused.
fn each(letters: LetterArguments, mut with: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let sink = letters.sink.clone();
    let socket = control(letters)?;
    let files: Vec<Held> = serde_json::from_str(&client::control(&socket, "GET", "/dead-letters")?)?;
    for Held { number, sink: of } in files {
        if sink.as_ref().is_some_and(|sink| *sink != of) {
            continue;
        }
        let text = client::control(&socket, "GET", &format!("/dead-letters/{number}/{of}"))?;
        text.lines().try_for_each(&mut with)?;
    }
    Ok(())
}

fn change(letters: LetterArguments, what: &str) -> Result<Done> {
    let path = match &letters.sink {
        Some(sink) => format!("/dead-letters/{what}/{sink}"),
        None => format!("/dead-letters/{what}"),
    };
    let answer = client::control(&control(letters)?, "POST", &path)?;
    serde_json::from_str(&answer).context("the agent's answer")
}

/// Where the agent with this configuration is asked.
fn control(letters: LetterArguments) -> Result<PathBuf> {
    let (config, ()) = Sources::from(letters.sources).load(|_| Ok(()))?;
    if config.state_dir.as_os_str().is_empty() {
        bail!("state_dir is not set: without it nothing is kept; give the agent's configuration with --config");
    }
    Ok(socket(&config.state_dir))
}
