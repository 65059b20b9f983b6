//! As an ordinary user, who may not load programs into the kernel.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use integration::agent::{Launch, STOP};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const NOBODY: u32 = 65534;

/// An engine whose socket everybody may use.
fn open_engine() -> Engine {
    let engine = Engine::start();
    set_permissions(engine.socket(), Permissions::from_mode(0o666)).expect("open the engine's socket");
    engine
}

#[test]
fn without_rights_it_captures_and_says_once_why_there_is_no_kernel_part() {
    needs!(requirements::engine());
    let engine = open_engine();
    let mut agent = Launch::on(engine.socket()).rotation("2s").as_user(NOBODY).start();
    agent.wait_ready();
    let writer = Writer::new("web", Kind::Mixed, 600);
    writer.start(&engine);
    agent.wait_records(600, Duration::from_secs(30));

    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("kernel_up", &[("tier", "none")]), Some(1.0));
    assert_eq!(metrics.sum("kernel_up", &[]), Some(1.0));
    // Without the kernel nobody can say whether the old connection was released.
    assert!(metrics.sum("stream_rotations_total", &[("verified", "unknown")]) > Some(0.0));
    assert_eq!(
        metrics
            .sum("stream_rotations_total", &[("verified", "true")])
            .unwrap_or(0.0),
        0.0
    );
    let ready = agent.admin.get("/readyz").expect("/readyz");
    assert!(ready.body.contains("kernel"), "{}", ready.body);
    agent.stop();

    let stderr = agent.stderr();
    let reasons: Vec<_> = stderr.lines().filter(|line| line.contains("CAP_BPF")).collect();
    assert_eq!(reasons.len(), 1, "{reasons:#?}");
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    for stream in ["stdout", "stderr"] {
        assert_eq!(
            captured.account("web", stream, &writer.expected(stream)).complaint(),
            ""
        );
    }
}

#[test]
fn without_rights_a_required_kernel_part_ends_it_with_what_to_grant() {
    needs!(requirements::engine());
    let engine = open_engine();
    let mut agent = Launch::on(engine.socket()).kernel("required").as_user(NOBODY).start();
    let status = agent.wait_exit(STOP);
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let stderr = agent.stderr();
    for right in ["CAP_BPF", "CAP_PERFMON"] {
        assert!(stderr.contains(right), "{right} is not named in:\n{stderr}");
    }
}
