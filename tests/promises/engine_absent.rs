//! No engine at first.

use std::os::unix::fs::symlink;
use std::thread::sleep;
use std::time::Duration;

use integration::agent::Launch;
use integration::control::{self, RESTING};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

#[test]
fn it_waits_for_a_missing_socket_and_captures_when_it_appears() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let directory = tempfile::tempdir().expect("a directory for a socket");
    let socket = directory.path().join("docker.sock");
    let mut agent = Launch::on(&socket).start();

    let ready = wait::until("/readyz to answer", PATIENCE, || agent.admin.get("/readyz").ok());
    assert_eq!(ready.status, 503);
    let parts: serde_json::Value = serde_json::from_str(&ready.body).expect("JSON");
    assert!(ready.body.contains("engine"), "{parts}");
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);

    let attempts = attempts_in_each(&agent, 3, Duration::from_secs(5));
    // A pause is a random part of what it has grown to (full jitter), so a window can have one more than another by chance.
    assert!(
        attempts[0] > attempts[2] + 1,
        "no growing delay: {attempts:?} attempts in 5 s each"
    );
    assert!(attempts.iter().sum::<u64>() <= 40, "{attempts:?}");
    assert!(attempts[0] > 1, "it did not try again: {attempts:?}");
    control::effort(agent.pid(), Duration::from_secs(3)).assert_below(RESTING, "waiting");
    let stderr = agent.stderr();
    assert!(
        stderr.contains(socket.to_str().expect("UTF-8")),
        "the socket is not named in:\n{stderr}"
    );

    symlink(engine.socket(), &socket).expect("let the socket appear");
    wait::until("/readyz to answer 200", PATIENCE, || {
        (agent.admin.get("/readyz").ok()?.status == 200).then_some(())
    });
    let writer = Writer::new("web", Kind::Mixed, 200);
    writer.start(&engine);
    agent.wait_records(200, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    for stream in ["stdout", "stderr"] {
        assert_eq!(
            captured.account("web", stream, &writer.expected(stream)).complaint(),
            ""
        );
    }
}

/// Connection errors counted in each of so many windows, the first of which begins with the agent.
fn attempts_in_each(agent: &integration::agent::Agent, windows: usize, window: Duration) -> Vec<u64> {
    let errors = || {
        let metrics = agent.admin.metrics().expect("/metrics");
        metrics.sum("docker_connection_errors_total", &[]).unwrap_or(0.0) as u64
    };
    let mut before = 0;
    (0..windows)
        .map(|_| {
            sleep(window);
            let now = errors();
            now - std::mem::replace(&mut before, now)
        })
        .collect()
}
