//! A private engine for one test at a time: several at once would only make
//! each other slow on a small machine.

use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard, PoisonError};

use private_engine::PrivateEngine;

static TURN: Mutex<()> = Mutex::new(());

/// The fields are in the order of their end: the turn passes when the engine is gone.
pub struct Engine {
    engine: PrivateEngine,
    _turn: MutexGuard<'static, ()>,
}

impl Engine {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments for `dockerd`.
    pub fn start_with(arguments: &[&str]) -> Self {
        // A test that failed while it had its turn takes nothing from the next.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let engine = PrivateEngine::start_with(arguments).expect("start a private engine");
        engine.import_busybox().expect("import an image");
        Self { engine, _turn: turn }
    }

    /// One that also listens on TCP, on loopback alone, with more arguments for `dockerd` about TLS.
    pub fn start_on_tcp(tls: &[&str]) -> (Self, SocketAddr) {
        // Free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = address.expect("a port of loopback");
        let host = format!("tcp://{address}");
        let mut arguments = vec!["--host", &host];
        arguments.extend_from_slice(tls);
        (Self::start_with(&arguments), address)
    }

    /// Runs `sh -c SCRIPT` in a container of this name.
    pub fn run_script(&self, name: &str, arguments: &[&str], script: &str) -> String {
        let mut all = vec!["--name", name];
        all.extend_from_slice(arguments);
        all.extend_from_slice(&[private_engine::IMAGE, "sh", "-c", script]);
        // Not `expect`: the error's backtrace would bury its message.
        self.run(&all).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// How often a path was asked for that contains `part`. For an engine with `--log-level=debug`.
    pub fn requests(&self, part: &str) -> usize {
        let log = std::fs::read(self.dir().join("dockerd.log")).expect("the engine's log");
        String::from_utf8_lossy(&log)
            .lines()
            .filter(|line| line.contains("Calling GET") && line.contains(part))
            .count()
    }

    /// Until the container has ended by itself.
    pub fn wait(&self, container: &str) {
        self.docker(&["wait", container]).expect("wait for a container");
    }

    /// The lines that the engine itself has of a container: what was written,
    /// where the test cannot know it beforehand. Not for a container with a TTY.
    pub fn logged(&self, container: &str, stream: &str) -> Vec<Vec<u8>> {
        let output = self
            .docker_command(&["logs", container])
            .and_then(|mut command| Ok(command.output()?))
            .expect("docker logs");
        assert!(output.status.success(), "docker logs: {output:?}");
        let bytes = if stream == "stdout" {
            output.stdout
        } else {
            output.stderr
        };
        let lines = bytes.split_inclusive(|&byte| byte == b'\n');
        lines
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
            .collect()
    }
}

impl Deref for Engine {
    type Target = PrivateEngine;

    fn deref(&self) -> &PrivateEngine {
        &self.engine
    }
}
