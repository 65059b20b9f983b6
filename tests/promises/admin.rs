//! The admin server, whoever else wants something of it; and the process's limit on what it may have open.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

use integration::agent::{self, Launch};
use integration::wait::{self, PATIENCE};

/// There is no engine here: the server answers all the same.
fn launch() -> Launch {
    Launch::on(Path::new("/nonexistent/docker.sock")).kernel("off")
}

fn wait_healthy(agent: &agent::Agent) {
    wait::until("the admin server to answer", PATIENCE, || {
        agent.admin.get("/healthz").ok().filter(|answer| answer.status == 200)
    });
}

/// The status line of an answer to a request that names this host.
fn status(address: &str, host: Option<&str>) -> String {
    let mut client = TcpStream::connect(address).expect("connect");
    client.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
    let version = if host.is_empty() { "1.0" } else { "1.1" };
    write!(client, "GET /healthz HTTP/{version}\r\n{host}Connection: close\r\n\r\n").expect("ask");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn clients_that_send_nothing_delay_nobody() {
    let mut agent = launch().start();
    wait_healthy(&agent);
    let address = agent.admin.address();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.extend((0..16).map(|_| TcpStream::connect(&address).expect("connect")));
        // Half a head is no request either.
        silent
            .last_mut()
            .map(|client| client.write_all(b"GET /healthz HTTP/1.1\r\nHo"));
        let began = Instant::now();
        assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(1),
            "{took:?}, beside {} clients",
            silent.len()
        );
    }
    agent.stop();
}

#[test]
fn a_port_that_is_taken_is_told_and_tried_again() {
    let launch = launch();
    let address = launch.admin().address();
    let other = TcpListener::bind(&address).expect("take the port");
    let mut agent = launch.start();
    agent.wait_said("cannot listen for the admin server", PATIENCE);
    assert!(agent.is_running(), "the agent does not run without its admin server");
    drop(other);
    wait_healthy(&agent);
    agent.stop();
}

#[test]
fn a_request_that_names_a_foreign_host_is_refused() {
    let mut agent = launch()
        .environment("LOG_CAPTURER_ADMIN_HOSTS", "[agent.example]")
        .start();
    wait_healthy(&agent);
    let address = agent.admin.address();
    for host in [
        None,
        Some("127.0.0.1:8001"),
        Some("localhost"),
        Some("[::1]:8001"),
        Some("agent.example:8001"),
    ] {
        let status = status(&address, host);
        assert!(status.contains(" 200 "), "{host:?}: {status}");
    }
    for host in ["evil.example", "127.0.0.1.evil.example:8001"] {
        let status = status(&address, Some(host));
        assert!(status.contains(" 421 "), "{host}: {status}");
    }
    agent.stop();
}

/// An agent that was given these limits, soft and hard.
fn limited(launch: &Launch, soft: u64, hard: u64) -> Child {
    let config = launch.configure();
    let stderr = std::fs::File::create(launch.home().join("stderr")).expect("a file for standard error");
    agent::command(Path::new("prlimit"))
        .arg(format!("--nofile={soft}:{hard}"))
        .arg(agent::binary())
        .args(["run", "--config"])
        .arg(config)
        .stderr(stderr)
        .spawn()
        .expect("start the agent under prlimit")
}

#[test]
fn the_limit_on_open_files_is_raised_and_named_where_it_is_too_low() {
    for (soft, hard, said) in [
        (64, 4_096, "raised the limit on open files from=64 to=4096"),
        (
            64,
            64,
            "the limit on open files is too low for capture.streams.max_concurrent",
        ),
    ] {
        let launch = launch();
        let mut agent = limited(&launch, soft, hard);
        wait::until(said, PATIENCE, || {
            let stderr = std::fs::read_to_string(launch.home().join("stderr")).ok()?;
            stderr.contains(said).then_some(())
        });
        agent.kill().expect("end the agent");
        agent.wait().expect("the agent's end");
    }
}
