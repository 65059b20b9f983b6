//! The engine's log drivers: those that rotate their files, and one that keeps nothing.

use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::control::{self, RESTING};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);

/// All that a driver's writers write, exactly once.
fn assert_every_line(engine: &Engine, agent: &mut Agent, writers: &[Writer]) {
    for writer in writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    let gaps = agent.admin.metrics().expect("/metrics").sum("gaps_total", &[]);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
    assert_eq!(gaps.unwrap_or(0.0), 0.0, "gaps where there are none");
}

#[test]
fn log_files_that_the_engine_rotates_under_load_lose_nothing() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).rotation("2s").start();
    agent.wait_ready();
    let lines = 400 * size("FILE_ROTATION_SECONDS", 12) as usize;
    // A file of 100 kB is full after about one and a half seconds, so that three hold several.
    let writers = [
        Writer::new("north", Kind::Short, lines).pace(40, 0.1),
        Writer::new("south", Kind::Mixed, lines).pace(40, 0.1),
    ];
    for writer in &writers {
        writer.start_with(&engine, &["--log-opt=max-size=100k", "--log-opt=max-file=3"]);
    }
    assert_every_line(&engine, &mut agent, &writers);
}

#[test]
fn lines_that_the_engine_deleted_before_they_could_be_read_are_a_gap() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    // Ten files full, of which two are kept.
    let writer = Writer::new("north", Kind::Short, 8_000).pace(200, 0.1);
    writer.start_with(&engine, &["--log-opt=max-size=100k", "--log-opt=max-file=2"]);
    agent.wait_records(100, PATIENCE);
    agent.kill();
    engine.wait("north");
    let left = engine.logged("north", "stdout");
    assert!(left.len() < 4_000, "the engine still has {} lines", left.len());
    agent.start_again();
    agent.wait_ready();
    let gaps = integration::wait::until("the gap to be counted", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        metrics
            .sum("gaps_total", &[("container", "north")])
            .filter(|gaps| *gaps > 0.0)
    });
    assert_eq!(gaps, 1.0);
    // None of what was left had been read before.
    integration::wait::until("what was left to be delivered", PATIENCE, || {
        let delivered = agent.admin.metrics().ok()?.sum("lines_delivered_total", &[])?;
        (delivered >= left.len() as f64).then_some(())
    });
    sleep(SECOND);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let account = captured.account("north", "stdout", &writer.expected("stdout"));
    assert!(
        account.doubled.is_empty() && account.unexpected.is_empty() && account.out_of_order == 0,
        "{}",
        account.complaint()
    );
    let lines = captured.lines("north", "stdout");
    assert!(
        lines.ends_with(&left),
        "what was left is not all there: {}",
        account.complaint()
    );
    let stderr = agent.stderr();
    let warned = stderr
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("north"));
    assert!(warned.count() > 0, "the gap is not told of in:\n{stderr}");
}

#[test]
fn the_local_driver_is_read_like_any_other() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).rotation("2s").start();
    agent.wait_ready();
    let kinds = [Kind::Short, Kind::Long, Kind::Tty, Kind::Mixed, Kind::Unterminated];
    let writers = kinds.map(|kind| {
        let lines = if kind == Kind::Long { 60 } else { 1_200 };
        Writer::new(format!("{kind:?}").to_lowercase(), kind, lines).pace(lines / 60, 0.1)
    });
    for writer in &writers {
        writer.start_with(&engine, &["--log-driver=local"]);
    }
    assert_every_line(&engine, &mut agent, &writers);
}

#[test]
fn a_driver_that_cannot_be_read_is_reported_once_and_left_alone() {
    needs!(requirements::engine());
    let engine = Engine::start_with(&["--log-level=debug"]);
    let mut agent = Launch::on(engine.socket()).rotation("1s").start();
    agent.wait_ready();
    let script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done";
    let id = engine.run_script("unreadable", &["--log-driver=none"], script);
    agent.wait_said("unreadable", PATIENCE);
    let effort = control::effort(agent.pid(), 4 * SECOND);
    // It is the same container, whose driver cannot have changed.
    engine
        .docker(&["restart", "--time", "0", "unreadable"])
        .expect("restart it");
    sleep(3 * SECOND);
    let asked = engine.requests(&format!("/containers/{id}/logs"));
    assert_eq!(asked, 1, "times asked for a log that cannot be read");
    effort.assert_below(RESTING, "leaving it alone");
    let told = agent
        .stderr()
        .lines()
        .filter(|line| line.contains("unreadable"))
        .count();
    assert_eq!(told, 1, "times told:\n{}", agent.stderr());

    // A new one of that name is another container.
    engine.docker(&["rm", "--force", "unreadable"]).expect("remove it");
    let recreated = Writer::new("unreadable", Kind::Mixed, 100);
    recreated.start(&engine);
    assert_every_line(&engine, &mut agent, &[recreated]);
}
