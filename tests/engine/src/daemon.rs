//! The `dockerd` process.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

const START: Duration = Duration::from_secs(60);
/// `dockerd` itself gives its containers 15 s.
const STOP: Duration = Duration::from_secs(30);

pub(crate) fn socket(dir: &Path) -> PathBuf {
    dir.join("docker.sock")
}

pub(crate) struct Daemon {
    child: Child,
    exited: Option<ExitStatus>,
}

impl Daemon {
    pub(crate) fn spawn(dir: &Path, args: &[String]) -> Result<Self> {
        let dockerd = crate::tools::find("dockerd").context("no dockerd on this machine (Debian: docker.io)")?;
        let exec = dir.join("exec");
        // A killed dockerd leaves it, and the next one waits for the process that it names.
        drop(fs::remove_file(exec.join("containerd/containerd.pid")));
        // The machine's own daemon.json may contradict the flags below, which dockerd takes as an error.
        let config = dir.join("daemon.json");
        fs::write(&config, "{}")?;
        let log = File::options().create(true).append(true).open(log(dir))?;

        let child = Command::new(dockerd)
            .arg("--config-file")
            .arg(config)
            .arg("--data-root")
            .arg(dir.join("data"))
            .arg("--exec-root")
            .arg(exec)
            .arg("--pidfile")
            .arg(dir.join("docker.pid"))
            .arg("--host")
            .arg(format!("unix://{}", socket(dir).display()))
            .args(["--bridge=none", "--iptables=false", "--ip-masq=false"])
            .args(args)
            .env("PATH", crate::tools::search_path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // A Ctrl-C at the terminal is for the agent; the engine is stopped after it.
            .process_group(0)
            .spawn()
            .context("dockerd did not start")?;
        Ok(Self { child, exited: None })
    }

    pub(crate) fn wait_ready(&mut self, dir: &Path) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            let Err(error) = crate::ping(&socket(dir)) else {
                return Ok(());
            };
            if !self.is_running() {
                bail!("dockerd ended at its start; its log ends in:\n{}", log_tail(dir));
            }
            if Instant::now() > end {
                bail!(
                    "dockerd does not answer after {START:?}: {error:#}; its log ends in:\n{}",
                    log_tail(dir)
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        if self.exited.is_none() {
            self.exited = self.child.try_wait().ok().flatten();
        }
        self.exited.is_none()
    }

    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        // Once waited for, the number may be another process's.
        if !self.is_running() {
            bail!("dockerd does not run");
        }
        kill_process(Pid::from_child(&self.child), signal).context("cannot signal dockerd")
    }

    /// SIGSTOP, until it stands: a thread that runs on for a moment can still answer somebody.
    pub(crate) fn pause(&mut self) -> Result<()> {
        self.signal(Signal::STOP)?;
        // The kernel tells the parent of a stop when the last thread has come to it. An end is left for `is_running`.
        let options = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), options).context("cannot wait for dockerd to stand")?;
        Ok(())
    }

    /// SIGTERM, and SIGKILL where that does not help in time.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(Signal::TERM)?;
        let end = Instant::now() + STOP;
        while self.is_running() {
            if Instant::now() > end {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGKILL. containerd goes with it: dockerd starts it with a parent-death signal.
    pub(crate) fn kill(&mut self) -> Result<()> {
        if self.is_running() {
            self.child.kill()?;
            self.exited = Some(self.child.wait()?);
        }
        Ok(())
    }
}

fn log(dir: &Path) -> PathBuf {
    dir.join("dockerd.log")
}

fn log_tail(dir: &Path) -> String {
    let log = fs::read(log(dir)).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
