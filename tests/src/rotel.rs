//! A real OpenTelemetry collector: `rotel`, which writes each record that it gets to a file.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait::{self, PATIENCE};

/// A running collector. Dropping it kills it.
pub struct Rotel {
    process: Child,
    port: u16,
    folder: TempDir,
}

/// The test needs it.
pub fn is_there() -> Result<(), String> {
    let program = program();
    match program.is_file() {
        true => Ok(()),
        false => Err(format!(
            "it needs the collector rotel at {}: `cargo xtask setup` gets it",
            program.display()
        )),
    }
}

/// Where `cargo xtask setup` puts it: below the build directory.
fn program() -> PathBuf {
    // target/debug/deps/promises-0123456789abcdef
    let test = std::env::current_exe().expect("the test's own path");
    let target = test
        .ancestors()
        .nth(3)
        .expect("a test binary lies in target/PROFILE/deps");
    target.join("rotel/rotel/rotel-agent")
}

impl Rotel {
    /// One that listens.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the collector");
        let output = File::create(folder.path().join("output")).expect("a file for its output");
        let [http, grpc] = [free_port(), free_port()];
        let process = Command::new(program())
            .arg("start")
            .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")])
            .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")])
            .args(["--debug-log", "logs", "--debug-log-verbosity", "detailed"])
            .args(["--exporter", "blackhole"])
            .stdin(Stdio::null())
            .stderr(output.try_clone().expect("the same file"))
            .stdout(output)
            .spawn()
            .expect("start rotel");
        wait::until("rotel to listen", PATIENCE, || {
            TcpStream::connect(("127.0.0.1", http)).ok().map(drop)
        });
        Self {
            process,
            port: http,
            folder,
        }
    }

    /// For the key `url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has written: a line for each field of each record.
    pub fn output(&self) -> String {
        fs::read_to_string(self.folder.path().join("output")).expect("the collector's output")
    }

    /// The bodies of all records that are texts, in the order of their arrival.
    pub fn bodies(&self) -> Vec<String> {
        let body = |line: &str| Some(line.strip_prefix("Body: Str(")?.strip_suffix(')')?.to_owned());
        self.output().lines().filter_map(body).collect()
    }
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
    listener.local_addr().expect("its address").port()
}
