//! Who follows the containers, and how each is started.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use anyhow::{Context, Result};
use private_engine::{PrivateEngine, find_tool};

use crate::output::{Output, Source};
use crate::running::Running;

/// The query of `GET /containers/ID/logs`.
const QUERY: &str = "stdout=1&stderr=1&timestamps=1&follow=1";

/// A program from the command line: `NAME=WHAT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    name: String,
    what: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, what) = text.split_once('=').ok_or("expected NAME= and what it is")?;
        Ok(Self {
            name: name.to_owned(),
            what: what.to_owned(),
        })
    }
}

/// A build of the agent, and what is not as it is by default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    build: Named,
    ledger: bool,
    /// `capture.source`.
    source: &'static str,
    rotation: Option<&'static str>,
}

impl Agent {
    pub fn new(build: Named) -> Self {
        Self {
            build,
            ledger: true,
            source: "api",
            rotation: None,
        }
    }

    pub fn without_ledger(self) -> Self {
        Self { ledger: false, ..self }
    }

    /// Reads the files of the engine's log drivers instead of asking its API.
    pub fn reading_files(self) -> Self {
        Self {
            source: "files",
            ..self
        }
    }

    pub fn rotating(self, interval: &'static str) -> Self {
        Self {
            rotation: Some(interval),
            ..self
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contestant {
    Agent(Agent),
    Bollard,
    /// The floor: what it costs to get the engine's bytes out, uninterpreted.
    Curl,
    DockerLogs,
    /// Its command finds the engine at `$DOCKER_HOST` and writes to `$OUT`.
    Collector(Named),
    /// What the engine does anyhow.
    Nobody,
}

impl Contestant {
    /// As `--only` names it: a build of the agent with whatever settings.
    pub fn family(&self) -> String {
        match self {
            Self::Agent(agent) => agent.build.name.clone(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(agent) => {
                f.write_str(&agent.build.name)?;
                if agent.source == "files" {
                    f.write_str(", files")?;
                }
                if !agent.ledger {
                    f.write_str(", no ledger")?;
                }
                agent
                    .rotation
                    .map_or(Ok(()), |interval| write!(f, ", rotation {interval}"))
            }
            Self::Bollard => f.write_str("bollard"),
            Self::Curl => f.write_str("curl"),
            Self::DockerLogs => f.write_str("docker logs"),
            Self::Collector(collector) => f.write_str(&collector.name),
            Self::Nobody => f.write_str("nobody"),
        }
    }
}

/// What there is to follow, and where what comes is to go.
pub struct Task<'a> {
    pub engine: &'a PrivateEngine,
    /// The ids of all containers there are; none yet where they start meanwhile.
    pub containers: &'a [String],
    /// Into pipes instead of files.
    pub pipes: bool,
    /// How many containers may be followed at once.
    pub at_once: usize,
    pub dir: &'a Path,
}

impl Contestant {
    pub fn start(&self, task: &Task<'_>) -> Result<Running> {
        let mut running = Running::default();
        match self {
            Self::Nobody => {}
            Self::Agent(agent) => {
                let file = task.dir.join("agent.jsonl");
                let config = task.dir.join("agent.yaml");
                fs::write(&config, settings(task, &file, agent))?;
                let mut command = Command::new(&agent.build.what);
                command.arg("run").arg("--config").arg(&config);
                start_one(&mut running, task, command, &file)?;
            }
            Self::Bollard => {
                let own = std::env::current_exe()?;
                let mut command = Command::new(own.with_file_name("bollard-follower"));
                command.args(task.containers);
                start_one(&mut running, task, command, &task.dir.join("bollard.out"))?;
            }
            Self::Collector(collector) => {
                let file = task.dir.join("collector.out");
                let mut command = Command::new("sh");
                let out: &Path = if task.pipes { Path::new("/dev/stdout") } else { &file };
                // Not a child of the shell's: its own processor time is what is read.
                let exec = format!("exec {}", collector.what);
                command.arg("-c").arg(exec).env("OUT", out).env("WORK", task.dir);
                start_one(&mut running, task, command, &file)?;
            }
            Self::Curl => {
                let curl = find_tool("curl").context("no curl on this machine (Debian: curl)")?;
                for id in task.containers {
                    let mut command = Command::new(&curl);
                    command.args(["--silent", "--no-buffer", "--output", "-", "--unix-socket"]);
                    command.arg(task.engine.socket());
                    command.arg(format!("http://localhost/containers/{id}/logs?{QUERY}"));
                    start_one(&mut running, task, command, &task.dir.join(id))?;
                }
            }
            Self::DockerLogs => {
                for id in task.containers {
                    let command = task.engine.docker_command(&["logs", "--timestamps", "--follow", id])?;
                    start_one(&mut running, task, command, &task.dir.join(id))?;
                }
            }
        }
        Ok(running)
    }
}

fn settings(task: &Task<'_>, file: &Path, agent: &Agent) -> String {
    let sink = if task.pipes {
        "{type: stdout}".to_owned()
    } else {
        format!("{{type: file, path: {}}}", file.display())
    };
    let kernel = if agent.ledger { "required" } else { "off" };
    let rotation = agent.rotation.map_or_else(String::new, |interval| {
        format!("  rotation: {{interval: {interval}}}\n")
    });
    format!(
        "sinks: [{sink}]\nkernel: {{mode: {kernel}}}\nadmin: {{listen: 127.0.0.1:0}}\nlog: {{level: warn}}\n\
         capture:\n  source: {}\n  streams: {{max_concurrent: {}}}\n{rotation}",
        agent.source,
        task.at_once.max(1)
    )
}

fn start_one(running: &mut Running, task: &Task<'_>, mut command: Command, file: &PathBuf) -> Result<()> {
    command.env("DOCKER_HOST", task.engine.host()).stdin(Stdio::null());
    // The agent takes settings from this prefix, and is measured with those that it has by default.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LOG_CAPTURER_") {
            command.env_remove(name);
        }
    }
    if task.pipes {
        let mut child = command.stdout(Stdio::piped()).spawn()?;
        let pipe = child.stdout.take().context("a pipe")?;
        running.sources.push(Source::new(Output::Pipe(pipe))?);
        running.children.push(child);
        return Ok(());
    }
    let written = File::options().create(true).append(true).open(file)?;
    running.children.push(command.stdout(Stdio::from(written)).spawn()?);
    running.sources.push(Source::new(Output::File(File::open(file)?))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_on_the_command_line() {
        let named: Named = "vector=vector --config x=y".parse().unwrap();
        assert_eq!(named.what, "vector --config x=y");
        assert!("vector".parse::<Named>().is_err());
        assert_eq!(Contestant::Collector(named.clone()).family(), "vector");
        let agent = Contestant::Agent(Agent::new(named).without_ledger().rotating("2s"));
        assert_eq!(agent.to_string(), "vector, no ledger, rotation 2s");
        assert_eq!(agent.family(), "vector");
    }
}
