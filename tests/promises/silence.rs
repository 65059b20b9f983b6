//! Streams that are silent: with a container that is silent, too, nothing is done for nothing; with one that writes, the
//! stream is opened again.

use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::control::{self, BUSY};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::shim::Shim;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

const SECOND: Duration = Duration::from_secs(1);

fn launch(engine: &Engine) -> Launch {
    Launch::on(engine.socket())
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_PROBE_AFTER", "1s")
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_MAX_INTERVAL", "2s")
}

fn sum(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = agent.admin.metrics().expect("/metrics");
    metrics.sum(name, labels).unwrap_or(0.0)
}

fn wait_sum(agent: &Agent, name: &str, labels: &[(&str, &str)], least: f64) {
    wait::until(&format!("{name}{labels:?} of {least}"), PATIENCE, || {
        (sum(agent, name, labels) >= least).then_some(())
    });
}

#[test]
fn a_stream_that_is_silent_while_its_container_writes_is_opened_again() {
    needs!(requirements::engine(), requirements::program("gcc"));
    let engine = Engine::start();
    let shim = Shim::build();
    let mut agent = shim.preload(launch(&engine)).start();
    agent.wait_ready();
    let writer = Writer::new("deaf", Kind::Mixed, 300).pace(10, 0.1);
    writer.start(&engine);
    agent.wait_records(50, PATIENCE);
    let log = wait::until("its log's connection", PATIENCE, || {
        let mut connections = agent.admin.connections().ok()?.into_iter();
        connections.find(|row| row.container.is_some())
    });
    shim.deafen(log.inode);
    wait_sum(&agent, "stream_stalls_total", &[("container", "deaf")], 1.0);
    agent.settle(writer.lines, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&writer.expected_of_both());
    assert_eq!(captured.records, writer.lines);
    let stderr = agent.stderr();
    assert!(stderr.contains("silent while it writes"), "not told of in:\n{stderr}");
}

#[test]
fn an_idle_stream_is_left_alone_and_a_truncated_log_or_a_stopped_engine_costs_no_line() {
    needs!(requirements::engine());
    let engine = Engine::start_with(&["--log-level=debug"]);
    let launch = launch(&engine).environment("LOG_CAPTURER_DOCKER_API_HEAD_TIMEOUT", "2s");
    let mut agent = launch.rotation("1s").start();
    agent.wait_ready();
    let idle = Writer::new("idle", Kind::Short, 20);
    let stays = idle.script().replacen("exec", "", 1);
    let id = engine.run_script(&idle.name, &[], &format!("{stays}; sleep 100"));
    let before = Writer::new("truncated", Kind::Short, 300).pace(100, 0.1);
    let after = Writer::new("after", Kind::Short, 200).pace(10, 0.2);
    let script = format!("({}); sleep 3; ({})", before.script(), after.script());
    engine.run_script(&before.name, &[], &script);
    agent.wait_records(320, PATIENCE);
    let path = engine
        .docker(&["inspect", "--format", "{{.LogPath}}", "truncated"])
        .expect("inspect it");
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("open the log file");
    file.set_len(0).expect("truncate it");

    // After its lines it is rotated once, and then no more.
    sleep(2 * SECOND);
    let follows = || engine.requests(&format!("/containers/{id}/logs?follow=1"));
    let opened = follows();
    let quiet = sum(&agent, "stream_probes_total", &[("outcome", "quiet")]);
    wait_sum(&agent, "stream_probes_total", &[("outcome", "quiet")], quiet + 1.0);
    engine.stop_signal().expect("stop the engine");
    wait_sum(&agent, "stream_probes_total", &[("outcome", "unanswered")], 1.0);
    engine.cont().expect("let the engine go on");
    engine.wait(&before.name);
    assert_eq!(follows(), opened, "an idle stream was reopened");
    assert_eq!(sum(&agent, "stream_stalls_total", &[("container", "idle")]), 0.0);

    agent.settle(520, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let lines = [before.expected("stdout"), after.expected("stdout")].concat();
    let expected = [
        ("truncated".into(), "stdout", lines),
        ("idle".into(), "stdout", idle.expected("stdout")),
    ];
    captured.assert_exact(&expected);
    assert_eq!(captured.records, 520);
}

#[test]
fn a_truncated_log_goes_on_while_its_container_writes_and_the_engine_is_left_in_peace() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = launch(&engine).start();
    agent.wait_ready();
    let script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done";
    engine.run_script("truncated", &[], script);
    agent.wait_records(50, PATIENCE);
    let path = engine
        .docker(&["inspect", "--format", "{{.LogPath}}", "truncated"])
        .expect("inspect it");
    let file = std::fs::File::options()
        .write(true)
        .open(path)
        .expect("open the log file");
    file.set_len(0).expect("truncate it");
    // Engine 26 and newer bring nothing more over the stream that is open.
    agent.wait_records(agent.records() + 100, PATIENCE);
    // A question that is not given up has them search for as long as the connection is open.
    control::effort(engine.pid(), 5 * SECOND).assert_below(BUSY, "an engine that serves one slow log");
    agent.wait_records(agent.records() + 50, PATIENCE);

    engine
        .docker(&["stop", "--time", "0", "truncated"])
        .expect("stop the container");
    let last = engine.logged("truncated", "stdout").pop().expect("a line");
    wait::until("the last line", PATIENCE, || {
        let captured = Captured::read(&agent.output()).ok()?;
        captured.lines("truncated", "stdout").contains(&last).then_some(())
    });
    let gaps = sum(&agent, "gaps_total", &[]);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let lines = captured.lines("truncated", "stdout");
    let numbers: Vec<usize> = lines
        .iter()
        .map(|line| String::from_utf8_lossy(line).parse().expect("a number"))
        .collect();
    assert!(numbers.is_sorted_by(|before, after| before < after), "{numbers:?}");
    let whole = numbers.iter().copied().eq(1..=numbers.len());
    assert!(
        whole || gaps >= 1.0,
        "lines are missing, and no gap is counted: {numbers:?}"
    );
}
