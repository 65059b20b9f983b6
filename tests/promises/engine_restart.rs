//! The engine is killed, stopped and started again under the agent.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::control::{self, RESTING};
use integration::engine::Engine;
use integration::ledger;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};

const SECOND: Duration = Duration::from_secs(1);

/// Never the same line twice, until it is stopped.
const ENDLESS: &str = "start=$(cat /proc/sys/kernel/random/uuid); n=0
    while :; do n=$((n+1)); echo \"$start $n\"; usleep 10000; done";

fn launch(engine: &Engine) -> Agent {
    let agent = Launch::on(engine.socket()).rotation("2s").kernel("required").start();
    agent.wait_ready();
    agent
}

fn wait_status(agent: &Agent, status: u16) {
    wait::until(&format!("/readyz to answer {status}"), PATIENCE, || {
        (agent.admin.get("/readyz").ok()?.status == status).then_some(())
    });
}

/// With the engine away there is nothing to do but to try again now and then.
fn assert_rests(agent: &Agent, window: Duration) {
    control::effort(agent.pid(), window).assert_below(RESTING, "being without an engine");
}

/// Every line that the engine has, exactly once.
fn assert_as_the_engine_has_it(engine: &Engine, agent: &mut Agent, names: &[&str]) {
    let expected: Vec<_> = names
        .iter()
        .flat_map(|name| ["stdout", "stderr"].map(|stream| ((*name).to_owned(), stream, engine.logged(name, stream))))
        .collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE / 2);
    let gaps = agent.admin.metrics().expect("/metrics").sum("gaps_total", &[]);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
    assert_eq!(gaps.unwrap_or(0.0), 0.0, "gaps where there are none");
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}

#[test]
fn an_engine_killed_with_live_restore_costs_no_line() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start_with(&["--live-restore"]);
    let mut agent = launch(&engine);
    // Longer than the engine is away, and slow enough for the pipe to hold what is written meanwhile.
    let writers = [
        Writer::new("short", Kind::Short, 1_500).pace(10, 0.1),
        Writer::new("mixed", Kind::Mixed, 1_500).pace(10, 0.1),
        Writer::new("ends-meanwhile", Kind::Short, 45).pace(10, 1.0),
    ];
    for writer in &writers {
        writer.start(&engine);
    }
    sleep(3 * SECOND);
    let process = |name| {
        engine
            .docker(&["inspect", "--format", "{{.State.Pid}}", name])
            .expect("inspect it")
    };
    let before = process("short");
    engine.kill9().expect("kill the engine");
    wait_status(&agent, 503);
    assert_rests(&agent, 3 * SECOND);
    engine.restart().expect("start the engine again");
    wait_status(&agent, 200);
    assert_eq!(process("short"), before, "it was restored, not restarted");
    let after = Writer::new("after", Kind::Mixed, 200);
    after.start(&engine);
    sleep(2 * SECOND);
    ledger::assert_no_connection_left_over(&agent, engine.socket(), 4);
    for writer in writers.iter().chain([&after]) {
        engine.wait(&writer.name);
    }
    let written: usize = writers.iter().map(|writer| writer.lines).sum();
    let names = ["short", "mixed", "ends-meanwhile", "after"];
    let logged: usize = names.iter().map(|name| engine.logged(name, "stdout").len()).sum();
    assert!(logged > written / 2, "the engine itself has {logged} lines");
    assert_as_the_engine_has_it(&engine, &mut agent, &names);
}

/// How often a container that writes [`ENDLESS`] has begun to.
fn starts(engine: &Engine, name: &str) -> usize {
    let logged = engine.logged(name, "stdout");
    let starts = logged.iter().map(|line| &line[..36]);
    starts.collect::<BTreeSet<_>>().len()
}

#[test]
fn an_engine_killed_with_its_containers_costs_no_line_that_it_has() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let mut agent = launch(&engine);
    engine.run_script("ends", &[], ENDLESS);
    engine.run_script("returns", &["--restart=always"], ENDLESS);
    sleep(3 * SECOND);
    engine.kill9().expect("kill the engine");
    wait_status(&agent, 503);
    assert_rests(&agent, 3 * SECOND);
    engine.restart().expect("start the engine again");
    wait_status(&agent, 200);
    sleep(2 * SECOND);
    engine.docker(&["start", "ends"]).expect("start it again");
    for name in ["ends", "returns"] {
        wait::until(&format!("{name} to write again"), PATIENCE, || {
            (starts(&engine, name) >= 2).then_some(())
        });
    }
    sleep(SECOND);
    ledger::assert_no_connection_left_over(&agent, engine.socket(), 2);
    engine
        .docker(&["stop", "--time", "0", "ends", "returns"])
        .expect("stop them");
    assert_as_the_engine_has_it(&engine, &mut agent, &["ends", "returns"]);
}

#[test]
fn an_engine_that_stands_still_for_a_while_costs_no_line() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let stopped = SECOND * size("STOPPED_SECONDS", 10);
    let engine = Engine::start();
    let mut agent = launch(&engine);
    let names = ["north", "east", "south", "west"];
    for name in names {
        engine.run_script(name, &[], ENDLESS);
    }
    agent.wait_records(200, PATIENCE);
    let before = witness::descriptors(agent.pid()).len();
    engine.stop_signal().expect("stop the engine");
    sleep(SECOND);
    assert_rests(&agent, stopped);
    let meanwhile = witness::descriptors(agent.pid()).len();
    engine.cont().expect("let the engine go on");
    assert!(
        meanwhile <= before + names.len() + 4,
        "descriptors: {before}, and {meanwhile} after {stopped:?} without an answer"
    );
    wait_status(&agent, 200);
    sleep(4 * SECOND);
    ledger::assert_no_connection_left_over(&agent, engine.socket(), names.len());
    let mut stop = vec!["stop", "--time", "0"];
    stop.extend(names);
    engine.docker(&stop).expect("stop them");
    assert_as_the_engine_has_it(&engine, &mut agent, &names);
}
