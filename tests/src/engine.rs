//! A private engine for a test. A few tests have theirs at the same time, because they wait more than they compute.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Condvar, Mutex, PoisonError};

use private_engine::PrivateEngine;

use crate::admin::reserve_port;

/// Engines at a time, for each processor. With more of them, a test that loads its engine keeps the others waiting.
const EACH_PROCESSOR: usize = 2;

static TAKEN: Mutex<usize> = Mutex::new(0);
static GIVEN_BACK: Condvar = Condvar::new();

/// One of the places for engines.
struct Place;

impl Place {
    fn take() -> Self {
        let places = EACH_PROCESSOR * std::thread::available_parallelism().map_or(1, usize::from);
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = GIVEN_BACK
            .wait_while(taken, |taken| *taken >= places)
            .unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        GIVEN_BACK.notify_one();
    }
}

/// The fields are in the order of their end: the place is given back when the engine is gone.
pub struct Engine {
    engine: PrivateEngine,
    _place: Place,
}

impl Engine {
    /// A private engine with an image of busybox.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// With more arguments for `dockerd`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let place = Place::take();
        let engine = PrivateEngine::start_with(arguments).expect("start a private engine");
        engine.import_busybox().expect("import an image");
        Self { engine, _place: place }
    }

    /// One that also listens on TCP, on loopback alone, with more arguments for `dockerd` about TLS.
    pub fn start_on_tcp(tls: &[&str]) -> (Self, SocketAddr) {
        let (_reserved, address) = reserve_port().expect("reserve a port of loopback");
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
            // The second is that of Engine 28 and newer.
            .filter(|line| line.contains("Calling GET") || line.contains("handling GET request"))
            .filter(|line| line.contains(part))
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
