//! A real Docker Engine of one's own: started for a run, gone without a trace after it.
//!
//! `cargo xtask run` shows the agent on it where a machine has no engine, and the integration tests
//! harm it. Everything it has lies in one directory of its own; it makes no bridge and no firewall
//! rule, so it does not touch an engine that the machine already runs.

mod busybox;
mod daemon;
mod leftovers;
mod ping;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

pub use busybox::{IMAGE, tar as busybox_tar};
use daemon::Daemon;
pub use ping::ping;
pub use tools::find as find_tool;

/// A private `dockerd`. Dropping it removes its containers, stops it and removes all it wrote.
pub struct PrivateEngine {
    dir: PathBuf,
    socket: PathBuf,
    args: Vec<String>,
    daemon: Mutex<Daemon>,
}

impl PrivateEngine {
    /// Starts one, and returns when it answers. It takes root.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts with more arguments for `dockerd`, such as `--live-restore`.
    pub fn start_with(args: &[&str]) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a private engine needs root: dockerd mounts and makes namespaces"
        );
        leftovers::sweep_abandoned();
        let dir = leftovers::create_dir()?;
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        let daemon = Daemon::spawn(&dir, &args).inspect_err(|_| leftovers::remove(&dir))?;
        let engine = Self {
            socket: daemon::socket(&dir),
            dir,
            args,
            daemon: Mutex::new(daemon),
        };
        // From here on an error drops the engine, which cleans up.
        engine.daemon().wait_ready(&engine.dir)?;
        Ok(engine)
    }

    /// The unix socket that it listens on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What `DOCKER_HOST` is to be for this engine.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The directory that holds everything of this engine, its log `dockerd.log` included.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The process id of `dockerd`; another after [`restart`](Self::restart).
    pub fn pid(&self) -> u32 {
        self.daemon().pid()
    }

    /// A `docker` command for this engine, for callers that need its pipes.
    pub fn docker_command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(tools::find("docker").context("no `docker` client on this machine")?);
        // Left to itself the client negotiates the API version; a context or TLS settings of the
        // user's would lead it to another engine.
        for variable in [
            "DOCKER_API_VERSION",
            "DOCKER_CONTEXT",
            "DOCKER_TLS_VERIFY",
            "DOCKER_CERT_PATH",
        ] {
            command.env_remove(variable);
        }
        command.env("DOCKER_HOST", self.host()).args(args);
        Ok(command)
    }

    /// Runs `docker ARGS` and gives what it printed.
    pub fn docker(&self, args: &[&str]) -> Result<String> {
        let output = self.docker_command(args)?.output().context("docker did not start")?;
        if !output.status.success() {
            bail!(
                "docker {}: {}",
                args.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Makes the image [`IMAGE`] from the machine's static busybox, once. No image can be pulled where
    /// there is no registry.
    pub fn import_busybox(&self) -> Result<String> {
        if self.docker(&["image", "inspect", IMAGE]).is_err() {
            let tar = busybox::tar(&self.dir)?;
            self.docker(&["import", &tar.to_string_lossy(), IMAGE])?;
        }
        Ok(IMAGE.to_owned())
    }

    /// `docker run --detach --network none ARGS`; gives the container's id.
    pub fn run(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["run", "--detach", "--network", "none"];
        all.extend_from_slice(args);
        self.docker(&all)
    }

    /// Kills `dockerd` as a crash would; its containers stay behind until [`restart`](Self::restart).
    pub fn kill9(&self) -> Result<()> {
        self.daemon().kill()
    }

    /// Stops `dockerd` if it runs, starts it again on the same data and socket, and waits until it answers.
    pub fn restart(&self) -> Result<()> {
        let mut daemon = self.daemon();
        daemon.stop()?;
        *daemon = Daemon::spawn(&self.dir, &self.args)?;
        daemon.wait_ready(&self.dir)
    }

    /// SIGSTOP, until every thread stands: the engine accepts connections, by its backlog, and answers nothing.
    pub fn stop_signal(&self) -> Result<()> {
        self.daemon().pause()
    }

    /// SIGCONT, after [`stop_signal`](Self::stop_signal).
    pub fn cont(&self) -> Result<()> {
        self.daemon().signal(rustix::process::Signal::CONT)
    }

    fn daemon(&self) -> std::sync::MutexGuard<'_, Daemon> {
        // A test that panicked while it held the lock must not keep the engine from being stopped.
        self.daemon.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn remove_containers(&self) -> Result<()> {
        let ids = self.docker(&["ps", "--all", "--quiet"])?;
        let mut args = vec!["rm", "--force"];
        args.extend(ids.lines());
        if args.len() > 2 {
            self.docker(&args)?;
        }
        Ok(())
    }
}

impl Drop for PrivateEngine {
    fn drop(&mut self) {
        // Only a running engine can remove its containers: wake one that was stopped, and start again
        // one that was killed. What fails here is left to `leftovers`.
        let awake = if self.daemon().is_running() {
            self.cont()
        } else {
            self.restart()
        };
        if let Err(error) = awake
            .and_then(|()| self.remove_containers())
            .and_then(|()| self.daemon().stop())
        {
            eprintln!("private engine: {error:#}; ending what it left");
        }
        drop(self.daemon().kill());
        leftovers::remove(&self.dir);
    }
}
