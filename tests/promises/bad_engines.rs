//! A peer that is no engine, or one whose answers are garbage: a clear
//! message, no crash, no busy loop, nothing leaked.

use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::control::{BUSY, Watched};
use integration::faults::{BAD_CONTAINER, BadEngine, Logs, Peer};
use integration::wait::PATIENCE;
use integration::{wait, witness};

const WINDOW: Duration = Duration::from_secs(5);

/// What ought to hold whatever the peer does, looked at for two windows.
fn assert_sound(agent: &mut Agent) {
    let most = |agent: &Agent| {
        let looks = (0..20).map(|_| {
            sleep(WINDOW / 20);
            witness::descriptors(agent.pid()).len()
        });
        looks.max().unwrap_or_default()
    };
    let watched = Watched::from_now(agent.pid());
    let first = most(agent);
    let then = most(agent);
    watched.effort().assert_below(BUSY, "what it does");
    assert!(then <= first + 1, "descriptors grow: {first}, then {then}");
    let resident = witness::resident(agent.pid());
    assert!(resident < 96 << 20, "{} MiB resident", resident >> 20);
    assert!(agent.is_running(), "it ended");
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
    assert!(!agent.stderr().contains("panicked"), "{}", agent.stderr());
}

fn assert_not_an_engine(peer: &Peer, said: &str) {
    let mut agent = Launch::on(peer.path()).start();
    let ready = wait::until("/readyz to answer", PATIENCE, || agent.admin.get("/readyz").ok());
    assert_eq!(ready.status, 503, "{}", ready.body);
    wait::until("a second attempt", 3 * PATIENCE, || {
        (peer.accepted() >= 2).then_some(())
    });
    assert_sound(&mut agent);
    assert!(peer.accepted() < 60, "{} connections", peer.accepted());
    let stderr = agent.stderr();
    assert!(
        stderr.contains(peer.path().to_str().expect("UTF-8")),
        "the socket is not named in:\n{stderr}"
    );
    assert!(stderr.contains(said), "{said:?} is not in:\n{stderr}");
    agent.stop();
}

#[test]
fn a_peer_that_closes_at_once_is_named_and_retried() {
    assert_not_an_engine(&Peer::closes_at_once(), "closed");
}

#[test]
fn a_peer_that_talks_nonsense_is_named_and_retried() {
    assert_not_an_engine(&Peer::talks_nonsense(), "HTTP");
}

#[test]
fn a_peer_that_says_nothing_is_named_and_retried() {
    assert_not_an_engine(&Peer::says_nothing(), "took longer than");
}

fn assert_bad_log(logs: Logs) {
    let engine = BadEngine::start(logs);
    let mut agent = Launch::on(engine.peer.path()).start();
    agent.wait_ready();
    wait::until("the log to be asked for", PATIENCE, || {
        (engine.logs_asked() > 0).then_some(())
    });
    // What the fault takes to be noticed is not part of the measurement.
    wait::until("a stream error", 6 * PATIENCE, || {
        (agent.admin.metrics().ok()?.sum("stream_errors_total", &[])? > 0.0).then_some(())
    });
    assert_sound(&mut agent);
    assert!(
        engine.logs_asked() < 40,
        "{} times asked for the log",
        engine.logs_asked()
    );
    let stderr = agent.stderr();
    assert!(
        stderr.contains(BAD_CONTAINER),
        "the container is not named in:\n{stderr}"
    );
    agent.stop();
}

#[test]
fn garbage_frames_are_an_error_of_that_stream() {
    assert_bad_log(Logs::GarbageFrames);
}

#[test]
fn a_frame_of_four_gibibytes_is_no_reason_to_hold_them() {
    let engine = BadEngine::start(Logs::EndlessFrame);
    let mut agent = Launch::on(engine.peer.path()).start();
    agent.wait_ready();
    wait::until("the log to be asked for", PATIENCE, || {
        (engine.logs_asked() > 0).then_some(())
    });
    for _ in 0..40 {
        let resident = witness::resident(agent.pid());
        assert!(resident < 96 << 20, "{} MiB resident", resident >> 20);
        sleep(Duration::from_millis(100));
    }
    assert_sound(&mut agent);
    agent.stop();
}

#[test]
fn garbage_chunks_are_an_error_of_that_stream() {
    assert_bad_log(Logs::GarbageChunks);
}

#[test]
fn a_head_without_an_end_is_an_error_of_that_stream() {
    assert_bad_log(Logs::EndlessHead);
}
