//! The configuration is read again at SIGHUP: what can change does, and no line is lost or doubled for it.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::{self, PATIENCE};
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);
/// Reloads that are waited for, before those that are not.
const STEPS: usize = 10;

/// Replaced as a whole, as an editor or `mv` does: a half of a file can be a good one.
fn write(agent: &Agent, text: &str) {
    let new = agent.home().join("config.new");
    fs::write(&new, text).expect("write the configuration");
    fs::rename(new, agent.home().join("config.yaml")).expect("put it in place");
}

fn text(agent: &Agent) -> String {
    fs::read_to_string(agent.home().join("config.yaml")).expect("the configuration")
}

/// Whether the last reload has succeeded, and when one last did.
fn told(agent: &Agent) -> (f64, f64) {
    let metrics = agent.admin.metrics().expect("/metrics");
    let value = |name| metrics.sum(name, &[]).expect(name);
    (
        value("config_last_reload_successful"),
        value("config_last_reload_success_timestamp_seconds"),
    )
}

fn reload(agent: &Agent, text: &str) -> (f64, f64) {
    let before = agent.stderr().matches("SIGHUP: ").count();
    write(agent, text);
    agent.signal(Signal::HUP);
    wait::until("the reload", PATIENCE, || {
        (agent.stderr().matches("SIGHUP: ").count() > before).then_some(())
    });
    told(agent)
}

/// The `host` of every whole record in the file, in its order.
fn hosts(agent: &Agent) -> Vec<String> {
    let bytes = fs::read(agent.output()).expect("the output");
    // The last one may be under way.
    let lines = bytes
        .split_inclusive(|&byte| byte == b'\n')
        .filter(|line| line.ends_with(b"\n"));
    let host = |line| {
        let record: serde_json::Value = serde_json::from_slice(line).expect("a record");
        record["host"].as_str().expect("host").to_owned()
    };
    lines.map(host).collect()
}

/// Filters, rules, limits and slots change from file to file, a hundred times in a second, while containers write. Those
/// that one file leaves out, the next one includes again.
fn assert_exact_through_reloads(source: &'static str) {
    let engine = Engine::start();
    let writers = [
        Writer::new("wa", Kind::Mixed, 12_000).pace(40, 0.04),
        Writer::new("wb", Kind::Short, 4_000).pace(40, 0.04),
        Writer::new("wc", Kind::Long, 100).pace(1, 0.04),
    ];
    let mut agent = Launch::on(engine.socket()).source(source).start();
    agent.wait_ready();
    let configured = text(&agent);
    for writer in &writers {
        writer.start(&engine);
    }
    // One after the other first: each meets a line.
    for step in 0..STEPS {
        let host = format!("step-{step}");
        write(&agent, &format!("host: {host}\n{configured}"));
        agent.signal(Signal::HUP);
        wait::until("a line under that policy", PATIENCE, || {
            hosts(&agent).contains(&host).then_some(())
        });
    }
    let start = Instant::now();
    for number in 0..100 {
        let changes = [
            "  exclude: [{name: wb}, {name: wc}]\n",
            "  include: [{name: wb}]\n  labels: []\n",
            "  multiline: {rules: [{start: '.'}]}\n",
            "  rate_limit: {lines_per_second: 1000000}\n  silence: {probe_after: 1s}\n",
        ];
        let change = format!("capture:\n{}", changes[number % changes.len()]);
        let streams = format!("max_concurrent: {}", 1 + number % 50);
        let new = configured
            .replace("capture:\n", &change)
            .replace("max_concurrent: 50", &streams);
        write(&agent, &format!("host: number-{number}\n{new}"));
        agent.signal(Signal::HUP);
        sleep(SECOND / 100);
    }
    assert!(start.elapsed() < 5 * SECOND, "{:?}", start.elapsed());
    write(&agent, &format!("host: last\n{configured}"));
    agent.signal(Signal::HUP);
    for writer in &writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total: usize = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("gaps_total", &[]).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("lines_rate_limited_total", &[]).unwrap_or(0.0), 0.0);
    assert_eq!(told(&agent).0, 1.0);
    // The last file holds.
    Writer::new("after", Kind::Short, 1).start(&engine);
    agent.settle(total + 1, PATIENCE);
    let hosts = hosts(&agent);
    assert_eq!(hosts.last().map(String::as_str), Some("last"));
    let changes = hosts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(changes > STEPS, "{changes} changes were put in force while lines came");
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
}

#[test]
fn a_hundred_reloads_in_a_second_cost_no_line_of_the_api() {
    needs!(requirements::engine());
    assert_exact_through_reloads("api");
}

#[test]
fn a_hundred_reloads_in_a_second_cost_no_line_of_the_files() {
    needs!(requirements::engine());
    assert_exact_through_reloads("files");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_with_its_line() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    let configured = text(&agent);
    let (successful, began) = told(&agent);
    assert_eq!(successful, 1.0, "the start counts");
    assert!(began > 0.0);
    let line = |text: &str| {
        1 + configured
            .lines()
            .position(|line| line == text)
            .expect("a line of the file")
    };
    let path = agent.home().join("config.yaml");
    let streams = line("  streams:");
    for (bad, said) in [
        (
            configured.replace("    max_concurrent: 50", "    max_concurrent: many"),
            format!("{}:{}:", path.display(), streams + 1),
        ),
        (
            configured.replace("    max_concurrent: 50", "    max_concurrent: 0"),
            format!("{}:{}:", path.display(), streams + 1),
        ),
        (
            configured.replace("  streams:", "  exclude: [{name: 'regex:('}]\n  streams:"),
            format!("{}:{streams}:", path.display()),
        ),
        (
            configured.replace("  streams:", "  streems:"),
            format!("{}:{streams}:", path.display()),
        ),
    ] {
        assert_ne!(bad, configured);
        let after = reload(&agent, &format!("{bad}host: bad\n"));
        assert_eq!(after, (0.0, began), "{said}");
        assert!(agent.stderr().contains(&said), "no {said} in {}", agent.stderr());
    }
    fs::remove_file(&path).expect("remove the file");
    agent.signal(Signal::HUP);
    agent.wait_said("No such file", PATIENCE);
    let writer = Writer::new("web", Kind::Short, 100);
    writer.start(&engine);
    agent.settle(100, PATIENCE);
    assert!(!hosts(&agent).contains(&"bad".to_owned()));

    let (successful, at) = reload(&agent, &format!("host: good\n{configured}"));
    assert_eq!(successful, 1.0);
    assert!(at > began);
    Writer::new("then", Kind::Short, 1).start(&engine);
    agent.settle(101, PATIENCE);
    assert_eq!(hosts(&agent).last().map(String::as_str), Some("good"));
    agent.stop();
}

#[test]
fn what_cannot_change_while_it_runs_is_named() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).source("files").start();
    agent.wait_ready();
    let configured = text(&agent);
    let other = configured
        .replace(&agent.admin.address().to_string(), "127.0.0.1:1")
        .replace("lines.json", "others.json");
    let (successful, _) = reload(&agent, &format!("{other}log: {{level: debug}}\n"));
    assert_eq!(successful, 1.0, "what can change has changed");
    agent.wait_said("keys=\"admin.listen, sinks\"", PATIENCE);
    // The level is in force.
    engine.run_script("web", &[], "echo a line");
    agent.settle(1, PATIENCE);
    agent.wait_said("its log is read from its files", PATIENCE);
    // As it was again: nothing is left to be said.
    let said = agent.stderr().matches("cannot change while").count();
    assert_eq!(said, 1);
    reload(&agent, &configured);
    assert_eq!(agent.stderr().matches("cannot change while").count(), said);
    agent.stop();
}
