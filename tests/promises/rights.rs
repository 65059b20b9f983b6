//! What the agent needs, and what it gives up; as an ordinary user, who may not load programs into the kernel.

use std::fs::{self, Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;

use integration::agent::{self, Agent, Launch, STOP};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

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
    agent.wait_records(600, PATIENCE);

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

/// `CapPrm`, `CapEff` and `CapInh` of each of its threads.
fn capabilities(agent: &Agent) -> Vec<[u64; 3]> {
    let tasks = fs::read_dir(format!("/proc/{}/task", agent.pid())).expect("the agent lives");
    let of = |task: fs::DirEntry| {
        // A thread may end meanwhile.
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let set = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.expect("in every status").trim(), 16).expect("hexadecimal")
        };
        Some(["CapPrm:", "CapEff:", "CapInh:"].map(set))
    };
    tasks.flatten().filter_map(of).collect()
}

#[test]
fn started_by_root_it_gives_up_its_capabilities_after_the_attach_in_every_thread() {
    needs!(requirements::engine(), requirements::kernel());
    // CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH.
    const KEPT: u64 = 1 << 1 | 1 << 2;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("required").rotation("1s").start();
    agent.wait_ready();
    let writer = Writer::new("web", Kind::Mixed, 400).pace(20, 0.1);
    writer.start(&engine);
    agent.wait_records(100, PATIENCE);
    let begun = capabilities(&agent);
    agent.wait_records(400, PATIENCE);
    let threads = [begun, capabilities(&agent)].concat();
    assert!(
        threads.len() >= 6,
        "the main thread, the messages', the sink's: {threads:x?}"
    );
    for thread in &threads {
        // That of the messages has none at all.
        assert!([[KEPT, KEPT, 0], [0; 3]].contains(thread), "{threads:x?}");
    }
    // And the kernel part does its work without them.
    let metrics = agent.admin.metrics().expect("/metrics");
    assert!(metrics.sum("stream_rotations_total", &[("verified", "true")]) > Some(0.0));
    wait::until("a quiet moment to compare in", PATIENCE, || {
        agent.admin.fds().ok()?.conserved?.then_some(())
    });
    agent.stop();
}

#[test]
fn doctor_names_the_rights_that_are_missing() {
    needs!(requirements::engine(), requirements::program("setpriv"));
    let home = tempfile::tempdir().expect("a directory");
    set_permissions(home.path(), Permissions::from_mode(0o755)).expect("open it");
    let program = home.path().join("log-capturer");
    let copied = std::process::Command::new("cp")
        .arg(agent::binary())
        .arg(&program)
        .status();
    assert!(copied.expect("run cp").success());
    let output = agent::command(std::path::Path::new("setpriv"))
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"])
        .arg(&program)
        .arg("doctor")
        .output()
        .expect("run doctor");
    let said = String::from_utf8_lossy(&output.stdout);
    for right in ["CAP_BPF no", "CAP_PERFMON no", "CAP_DAC_READ_SEARCH no", "uid 65534"] {
        assert!(said.contains(right), "{right:?} is not in:\n{said}");
    }
    assert!(
        said.contains("not watched") && said.contains("grant CAP_BPF, CAP_PERFMON"),
        "{said}"
    );
}
