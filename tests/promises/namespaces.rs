//! The same in a process-id namespace of the agent's own, and in a container.

use std::time::Duration;

use integration::agent::{self, Agent, Launch};
use integration::engine::Engine;
use integration::ledger::{self, Comparison};
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

#[test]
fn in_its_own_pid_namespace_it_captures_and_counts_right() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::ss(),
        requirements::program("unshare")
    );
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .kernel("required")
        .rotation("2s")
        .under(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .start();
    agent.wait_ready();
    let status = std::fs::read_to_string(format!("/proc/{}/status", agent.pid())).expect("the agent lives");
    let namespaced = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .expect("NSpid");
    assert!(
        namespaced.split_whitespace().count() > 1,
        "no namespace of its own: {namespaced}"
    );

    let writers = ["north", "east", "south"].map(|name| Writer::new(name, Kind::Short, 600));
    for writer in &writers {
        writer.start(&engine);
    }
    agent.wait_records(300, PATIENCE);
    assert_kernel_counts(&agent, &engine);
    agent.wait_records(1800, PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(ledger::conserved(&metrics).map(|peers| peers > 0), Ok(true));
    agent.stop();

    let captured = Captured::read(&agent.output()).expect("records of the contract");
    for writer in &writers {
        let account = captured.account(&writer.name, "stdout", &writer.expected("stdout"));
        assert_eq!(account.complaint(), "", "{}", writer.name);
    }
}

/// The kernel tier is in force, and sees the connections that `ss` sees.
fn assert_kernel_counts(agent: &Agent, engine: &Engine) {
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("kernel_up", &[("tier", "none")]).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("kernel_up", &[]), Some(1.0));
    let connections = wait::until("/connections to agree with ss", PATIENCE, || {
        match ledger::compare(agent, engine.socket()) {
            Comparison::Agrees { connections } => Some(connections),
            _ => None,
        }
    });
    assert!(connections >= 3, "{connections} connections for three containers");
}

/// In a container, with the host's libraries, the engine's socket, and what the kernel part needs.
#[test]
fn in_a_container_it_captures_the_others_and_not_itself() {
    needs!(requirements::engine(), requirements::kernel());
    let engine = Engine::start();
    let launch = Launch::on(engine.socket()).kernel("required");
    let config = launch.configure();
    let home = launch.home().display().to_string();
    let mount = |path: &str, mode: &str| format!("--volume={path}:{path}:{mode}");
    let mut run = vec![
        "run".to_owned(),
        "--detach".into(),
        "--name=capturer".into(),
        "--network=host".into(),
        // For CAP_BPF and CAP_PERFMON, which Engine 20.10 cannot name, and to mount tracefs.
        // Not --privileged, which a host that itself lacks a capability cannot give.
        "--cap-add=SYS_ADMIN".into(),
        mount(&home, "rw"),
        mount(&engine.dir().display().to_string(), "rw"),
        format!("--volume={}:/log-capturer:ro", agent::binary().display()),
    ];
    run.extend(
        ["/lib", "/lib64", "/usr/lib"]
            .into_iter()
            .filter(|it| std::path::Path::new(it).exists())
            .map(|it| mount(it, "ro")),
    );
    run.extend([private_engine::IMAGE, "/log-capturer", "run", "--config"].map(str::to_owned));
    run.push(config.display().to_string());
    engine
        .docker(&run.iter().map(String::as_str).collect::<Vec<_>>())
        .expect("run the agent in a container");

    let said = || {
        let mut said = engine.logged("capturer", "stderr");
        said.extend(engine.logged("capturer", "stdout"));
        String::from_utf8_lossy(&said.join(&b'\n')).into_owned()
    };
    let admin = launch.admin();
    let ready = || admin.get("/readyz").is_ok_and(|answer| answer.status == 200);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !ready() {
        assert!(std::time::Instant::now() < deadline, "not ready; it said:\n{}", said());
        std::thread::sleep(Duration::from_millis(200));
    }
    let other = Writer::new("other", Kind::Mixed, 300);
    other.start(&engine);
    engine.wait("other");
    let metrics = wait::until("300 lines to be delivered", PATIENCE, || {
        let metrics = admin.metrics().ok()?;
        (metrics.sum("lines_delivered_total", &[]) >= Some(300.0)).then_some(metrics)
    });
    assert_eq!(metrics.sum("kernel_up", &[("tier", "none")]).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("kernel_up", &[]), Some(1.0));
    assert_eq!(ledger::conserved(&metrics).map(|peers| peers > 0), Ok(true));

    engine.docker(&["stop", "capturer"]).expect("stop the agent");
    let status = engine
        .docker(&["inspect", "--format", "{{.State.ExitCode}}", "capturer"])
        .expect("inspect");
    assert_eq!(status, "0", "it said:\n{}", said());
    assert!(!said().is_empty(), "it logged nothing that it could have captured");
    let captured = Captured::read(&launch.home().join("lines.json")).expect("records of the contract");
    assert_eq!(captured.containers(), ["other"]);
    for stream in ["stdout", "stderr"] {
        assert_eq!(
            captured.account("other", stream, &other.expected(stream)).complaint(),
            ""
        );
    }
}
