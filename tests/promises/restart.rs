//! The agent ends, at any moment and in any way, and the next one on its
//! `state_dir` goes on where it was.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{self, Agent, Launch};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::seed::seed;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn killed_at_random_moments_under_load_it_has_every_line_exactly_once() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let kills = size("KILLS", 6);
    // About three seconds for each.
    let tenths = kills as usize * 30;
    let writers = [
        Writer::new("short", Kind::Short, tenths * 50).pace(50, 0.1),
        Writer::new("mixed", Kind::Mixed, tenths * 20).pace(20, 0.1),
        Writer::new("tty", Kind::Tty, tenths * 10).pace(10, 0.1),
        Writer::new("long", Kind::Long, tenths / 2).pace(1, 0.2),
        Writer::new("unterminated", Kind::Unterminated, tenths * 5).pace(5, 0.1),
    ];
    for writer in &writers {
        writer.start(&engine);
    }
    let mut agent = Launch::on(engine.socket()).rotation("1s").start();
    let mut random = fastrand::Rng::with_seed(seed());
    let mut below = |most: Duration| most.mul_f64(random.f64());
    for _ in 0..kills {
        sleep(SECOND / 2 + below(2 * SECOND));
        agent.kill();
        sleep(below(SECOND));
        agent.start_again();
    }
    agent.wait_ready();
    agent.stop();
    agent.start_again();
    for writer in &writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
}

/// Three containers for one absence of the agent's: each ends before it is back.
fn absence(engine: &Engine, agent: &mut Agent, name: &str, leave: impl FnOnce(&mut Agent)) -> Vec<Writer> {
    let busy = Writer::new(format!("{name}-busy"), Kind::Mixed, 600).pace(10, 0.1);
    busy.start(engine);
    // It says nothing before the agent is gone, and checkpoints are written meanwhile.
    let silent = Writer::new(format!("{name}-silent"), Kind::Short, 30);
    engine.run_script(&silent.name, &[], &format!("sleep 5; {}", silent.script()));
    sleep(3 * SECOND);
    leave(agent);
    let unseen = Writer::new(format!("{name}-unseen"), Kind::Unterminated, 30);
    unseen.start(engine);
    let all = vec![busy, silent, unseen];
    for writer in &all {
        engine.wait(&writer.name);
    }
    agent.start_again();
    all
}

#[test]
fn what_ends_while_it_is_down_is_captured_to_its_end() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    let mut writers = absence(&engine, &mut agent, "killed", Agent::kill);
    agent.wait_ready();
    writers.extend(absence(&engine, &mut agent, "stopped", Agent::stop));
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
}

#[test]
fn a_second_agent_on_one_state_dir_is_refused_with_a_message() {
    let socket = std::path::Path::new("/nonexistent/docker.sock");
    let mut agent = Launch::on(socket).kernel("off").start();
    wait::until("the agent to hold its state_dir", PATIENCE, || {
        agent.home().join("state/lock").exists().then_some(())
    });
    let output = agent::command(&agent::binary())
        .args(["run", "--config"])
        .arg(agent.home().join("config.yaml"))
        .args(["--set", "admin.listen=127.0.0.1:0"])
        .output()
        .expect("run a second agent");
    assert!(output.status.code().is_some_and(|code| code != 0), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    let state = agent.home().join("state");
    for word in ["in use by another agent", state.to_str().expect("UTF-8")] {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
    assert!(agent.is_running(), "the first one has ended");
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
    agent.stop();
}

#[test]
fn a_truncated_state_is_set_aside_and_told_of_and_the_start_goes_on() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    let before = Writer::new("before", Kind::Short, 100);
    before.start(&engine);
    agent.wait_records(100, PATIENCE);
    agent.stop();
    let state = agent.home().join("state/state.json");
    let whole = fs::read(&state).expect("the saved positions");
    fs::write(&state, &whole[..whole.len() / 2]).expect("truncate them");

    agent.start_again();
    agent.wait_ready();
    agent.wait_said("damaged", PATIENCE);
    let files = fs::read_dir(agent.home().join("state")).expect("the state_dir");
    let aside: Vec<_> = files
        .flatten()
        .filter(|file| file.file_name().to_string_lossy().starts_with("state.json.damaged"))
        .map(|file| fs::read(file.path()).expect("what was set aside"))
        .collect();
    assert_eq!(aside, [whole[..whole.len() / 2].to_vec()]);
    let after = Writer::new("after", Kind::Mixed, 100);
    after.start(&engine);
    wait::until("the lines of a new container", PATIENCE, || {
        let read = agent.admin.metrics().ok()?;
        (read.sum("lines_read_total", &[("container", "after")])? >= 100.0).then_some(())
    });
    agent.stop();
    assert!(
        fs::metadata(&state).is_ok_and(|state| state.len() > 0),
        "nothing was saved again"
    );
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&after.expected_of_both());
}

#[test]
fn what_is_acknowledged_is_on_the_disk_before_the_position_behind_it() {
    needs!(requirements::engine(), requirements::program("strace"));
    let engine = Engine::start();
    // On standard error, with the paths of descriptors.
    let strace = [
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        "trace=fdatasync,rename,renameat,renameat2",
    ];
    let mut agent = Launch::on(engine.socket()).kernel("off").under(&strace).start();
    agent.wait_ready();
    let writer = Writer::new("short", Kind::Short, 300).pace(10, 0.1);
    writer.start(&engine);
    agent.wait_records(300, PATIENCE);
    agent.stop();

    let stderr = agent.stderr();
    let (mut synced, mut saved, mut syncs) = (false, 0, 0);
    for line in stderr.lines() {
        if line.contains("fdatasync(") && line.contains("lines.json") {
            (synced, syncs) = (true, syncs + 1);
        } else if line.contains("rename") && line.contains("state.json.new") {
            assert!(synced, "positions saved before the lines:\n{stderr}");
            (synced, saved) = (false, saved + 1);
        }
    }
    assert!(saved >= 3, "{saved} times saved:\n{stderr}");
    assert_eq!(syncs, saved, "more than one fdatasync for one checkpoint:\n{stderr}");
}
