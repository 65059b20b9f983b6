//! A Loki as a sink: every line of a real engine arrives there, whatever the Loki does meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::store::{Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

/// A container that writes so many numbered lines, a thousand at once and then a pause.
fn write(engine: &Engine, name: &str, lines: usize, pause: &str) {
    let script = format!(
        "n=0; while [ $n -lt {lines} ]; do n=$((n+1)); echo $n; [ $((n % 1000)) -eq 0 ] && sleep {pause}; done; sleep 3600"
    );
    engine.run_script(name, &[], &script);
}

fn sink(loki: &Loki, more: &str) -> String {
    format!("  - {{type: loki, name: main, url: \"{}\"{more}}}\n", loki.url())
}

fn expected(lines: usize) -> Vec<String> {
    (1..=lines).map(|number| number.to_string()).collect()
}

fn wait_lines(loki: &Loki, lines: usize) {
    wait::until(&format!("{lines} lines in the store"), PATIENCE, || {
        (loki.entries().len() >= lines).then_some(())
    });
}

fn is_held(agent: &Agent) -> bool {
    agent
        .admin
        .get("/readyz")
        .is_ok_and(|answer| answer.status == 503 && answer.body.contains("held"))
}

/// Exactly once in the file, and as much as exactly once in the store, which drops repeats; in order in both.
fn assert_all(agent: &Agent, loki: &Loki, containers: &[&str], lines: usize) {
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let written: Vec<_> = expected(lines).into_iter().map(String::into_bytes).collect();
    for container in containers {
        assert_eq!(captured.account(container, "stdout", &written).complaint(), "");
        assert_eq!(loki.lines(container), expected(lines), "{container}");
    }
    assert_eq!(loki.complaints(), Vec::<String>::new());
}

#[test]
fn every_line_is_in_the_store_once_with_its_labels_and_its_connection_in_the_ledger() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    let containers = ["north", "south"];
    for name in containers {
        write(&engine, name, 20_000, "0.05");
    }
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&loki, ", tenant: shop"))
        .start();
    agent.wait_ready();
    wait_lines(&loki, 40_000);
    let entry = loki.entries().pop().expect("an entry");
    assert_eq!(entry.labels.keys().collect::<Vec<_>>(), ["container", "host"]);
    assert_eq!(entry.metadata.keys().collect::<Vec<_>>(), ["id", "image", "stream"]);
    assert_eq!(
        (entry.metadata["id"].len(), entry.metadata["stream"].as_str()),
        (64, "stdout")
    );
    assert_eq!(loki.tenants(), ["shop"]);
    let connections = agent.admin.connections().expect("connections");
    let ours: Vec<_> = connections
        .iter()
        .filter(|row| row.purpose.as_deref() == Some("delivery"))
        .collect();
    assert_eq!(ours.len(), 1, "{connections:?}");
    assert_eq!(ours[0].opened_by.as_deref(), Some("sink"));
    let metrics = agent.admin.metrics().expect("metrics");
    let main = [("sink", "main")];
    assert_eq!(metrics.sum("lines_delivered_total", &main), Some(40_000.0));
    assert_eq!(metrics.sum("lines_redelivered_total", &main).unwrap_or(0.0), 0.0);
    for sink in ["main", "file"] {
        assert_eq!(metrics.sum("delivery_drift", &[("sink", sink)]), Some(0.0));
        assert_eq!(metrics.sum("sink_waiting_lines", &[("sink", sink)]), Some(0.0));
    }
    agent.stop();
    assert_all(&agent, &loki, &containers, 20_000);
    assert_eq!(loki.repeats(), 0);
}

#[test]
fn whatever_the_store_does_meanwhile_every_line_arrives_and_in_order() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", 60_000, "0.2");
    let token = tempfile::NamedTempFile::new().expect("a file");
    fs::write(token.path(), "right").expect("write the token");
    let auth = format!(", auth: {{bearer_file: \"{}\"}}", token.path().display());
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, &auth)).start();
    agent.wait_ready();
    let second = Duration::from_secs(1);
    for fault in [
        Fault::Down,
        Fault::Slow(second),
        Fault::Answer(429, ""),
        Fault::Answer(429, "Retry-After: 1"),
        Fault::Answer(500, ""),
        Fault::Answer(260, ""),
        Fault::Answer(404, ""),
        Fault::CutAnswer,
        Fault::CutBody,
        Fault::Largest(2_000),
        Fault::Only("Bearer other".to_owned()),
    ] {
        loki.set(fault.clone());
        std::thread::sleep(2 * second);
        loki.set(Fault::None);
        let before = loki.entries().len();
        if before < 60_000 {
            wait::until(&format!("lines after {fault:?}"), PATIENCE, || {
                (loki.entries().len() > before).then_some(())
            });
        }
    }
    wait_lines(&loki, 60_000);
    agent.wait_ready();
    let metrics = agent.admin.metrics().expect("metrics");
    assert_eq!(
        metrics.sum("lines_dropped_total", &[("sink", "main")]).unwrap_or(0.0),
        0.0
    );
    assert_eq!(metrics.sum("delivery_drift", &[("sink", "main")]), Some(0.0));
    assert_eq!(metrics.sum("leaked_connections", &[]).unwrap_or(0.0), 0.0);
    agent.stop();
    assert!(!agent.stderr().contains("right"), "a secret is shown");
    assert_all(&agent, &loki, &["web"], 60_000);
}

#[test]
fn a_store_that_is_back_has_its_lines_within_two_seconds() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    loki.set(Fault::Down);
    write(&engine, "web", 1_000, "0.1");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_records(1_000, PATIENCE);
    std::thread::sleep(Duration::from_secs(5));
    let back = Instant::now();
    loki.set(Fault::None);
    wait_lines(&loki, 1_000);
    // And what a busy machine takes.
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
    agent.stop();
    assert_all(&agent, &loki, &["web"], 1_000);
}

#[test]
fn one_line_that_the_store_refuses_is_set_aside_alone_and_counted() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    loki.set(Fault::Refuse("700".to_owned()));
    write(&engine, "web", 1_000, "0.1");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_ready();
    wait_lines(&loki, 999);
    agent.wait_records(1_000, PATIENCE);
    let metrics = wait::until("the count", PATIENCE, || {
        let metrics = agent.admin.metrics().expect("metrics");
        (metrics.sum("lines_delivered_total", &[("sink", "main")]) == Some(999.0)).then_some(metrics)
    });
    let dead = metrics.sum("dead_letters_total", &[("sink", "main"), ("reason", "too_new")]);
    assert_eq!(dead, Some(1.0));
    assert_eq!(
        metrics.sum("lines_dropped_total", &[("sink", "main")]).unwrap_or(0.0),
        0.0
    );
    assert_eq!(metrics.sum("delivery_drift", &[("sink", "main")]), Some(0.0));
    agent.stop();
    let mut lines = loki.lines("web");
    lines.sort_by_key(|line| line.parse::<usize>().expect("a number"));
    let others: Vec<_> = expected(1_000).into_iter().filter(|line| line != "700").collect();
    assert_eq!(lines, others);
}

#[test]
fn a_wrong_key_holds_the_sink_and_a_changed_file_ends_that_without_a_restart() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    loki.set(Fault::Only("Basic YWdlbnQ6cmlnaHQ=".to_owned()));
    write(&engine, "web", 5_000, "0.1");
    let password = tempfile::NamedTempFile::new().expect("a file");
    fs::write(password.path(), "wrong").expect("write the password");
    let auth = format!(
        ", auth: {{user: agent, password_file: \"{}\"}}",
        password.path().display()
    );
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, &auth)).start();
    wait::until("the sink to be held", PATIENCE, || is_held(&agent).then_some(()));
    let held = [("sink", "main"), ("reason", "unauthorized")];
    assert_eq!(
        agent.admin.metrics().expect("metrics").sum("sink_held", &held),
        Some(1.0)
    );
    fs::write(password.path(), "right").expect("write the password");
    wait_lines(&loki, 5_000);
    agent.wait_ready();
    assert_eq!(
        agent.admin.metrics().expect("metrics").sum("sink_held", &held),
        Some(0.0)
    );
    agent.stop();
    assert_all(&agent, &loki, &["web"], 5_000);
}

#[test]
fn neither_sigkill_nor_sigterm_while_the_store_is_down_loses_a_line() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", 30_000, "0.3");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_ready();
    wait_lines(&loki, 3_000);
    agent.kill();
    agent.start_again();
    agent.wait_ready();
    wait_lines(&loki, 6_000);
    loki.set(Fault::Down);
    std::thread::sleep(Duration::from_secs(2));
    agent.signal(Signal::TERM);
    // Not 0: what was read could not be delivered.
    assert_eq!(agent.wait_exit(STOP).code(), Some(1));
    loki.set(Fault::None);
    agent.start_again();
    agent.wait_ready();
    wait_lines(&loki, 30_000);
    agent.stop();
    assert_eq!(loki.lines("web"), expected(30_000));
    assert_eq!(loki.complaints(), Vec::<String>::new());
}
