//! The engine that `run` captures from.

use std::path::Path;

use anyhow::{Context, Result};
use private_engine::{PrivateEngine, find_tool, ping};

use crate::say;
use crate::setup::{self, Part};

const DEFAULT: &str = "unix:///var/run/docker.sock";

pub enum Engine {
    /// The user's own arguments name it.
    Named,
    Found(String),
    Private(PrivateEngine),
}

impl Engine {
    /// What the agent is told of it, before the user's own arguments.
    pub fn arguments(&self) -> Vec<String> {
        let host = match self {
            Self::Named => return Vec::new(),
            Self::Found(host) => host.clone(),
            Self::Private(engine) => engine.host(),
        };
        vec!["--set".into(), format!("docker.host={host}")]
    }

    pub fn is_private(&self) -> bool {
        matches!(self, Self::Private(_))
    }
}

pub fn find_or_start(arguments: &[String]) -> Result<Engine> {
    if arguments.iter().any(|argument| argument.contains("docker.host=")) {
        return Ok(Engine::Named);
    }
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    match answers(host.as_deref().unwrap_or(DEFAULT)) {
        // The default is the agent's own, and a configuration file of the user's may say otherwise.
        Ok(()) => Ok(host.map_or(Engine::Named, Engine::Found)),
        Err(error) => {
            say::step(&format!("no engine answers: {error:#}"));
            start_private().map(Engine::Private)
        }
    }
}

fn answers(host: &str) -> Result<()> {
    match host.strip_prefix("unix://") {
        Some(socket) => ping(Path::new(socket)),
        // The agent itself says what is wrong with another kind of address.
        None => Ok(()),
    }
}

fn start_private() -> Result<PrivateEngine> {
    if find_tool("dockerd").is_none() {
        setup::ensure(&[Part::Engine]);
    }
    let engine = PrivateEngine::start().context("cannot start a private engine")?;
    start_writers(&engine)?;
    say::step(&format!(
        "started a private engine for this run at {}, with three containers that write logs: \
         web, worker and terminal. Both go when it ends (Ctrl-C)",
        engine.host()
    ));
    Ok(engine)
}

/// One on both streams, one with structured lines, one with a terminal.
fn start_writers(engine: &PrivateEngine) -> Result<()> {
    let image = engine.import_busybox()?;
    let web = "n=0; while n=$((n+1)); do echo \"GET /page/$n 200\"; \
               [ $((n%5)) = 0 ] && echo \"upstream timed out, request $n\" >&2; sleep 1; done";
    let worker = r#"n=0; while n=$((n+1)); do echo "{\"job\":$n,\"done\":true}"; sleep 3; done"#;
    let terminal = "while date; do sleep 2; done";
    engine.run(&["--name", "web", &image, "sh", "-c", web])?;
    engine.run(&["--name", "worker", &image, "sh", "-c", worker])?;
    engine.run(&["--name", "terminal", "--tty", &image, "sh", "-c", terminal])?;
    Ok(())
}
