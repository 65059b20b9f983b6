//! What others do with the agent's output and with its state: they rotate it, fill its disk and delete it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::{self, PATIENCE};
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);
/// In which positions are saved, mostly.
const CHECKPOINT: Duration = Duration::from_secs(2);

/// Lines that come at a known moment: each call of [`Turns::write`] makes the container write some.
struct Turns {
    engine: Engine,
    written: usize,
}

impl Turns {
    fn start() -> Self {
        let engine = Engine::start();
        let script = "n=0; while read -r turn; do for i in 1 2 3 4 5 6 7 8 9 10; do n=$((n+1)); echo $n; done; done";
        let follow = format!("mkfifo /turns; while :; do sleep 3600; done > /turns & ({script}) < /turns");
        engine.run_script("web", &[], &follow);
        wait::until("the container to listen", PATIENCE, || {
            engine.docker(&["exec", "web", "test", "-p", "/turns"]).ok().map(drop)
        });
        Self { engine, written: 0 }
    }

    /// Ten lines.
    fn write(&mut self) {
        let turn = ["exec", "web", "sh", "-c", "echo go > /turns"];
        self.engine.docker(&turn).expect("let the container write");
        self.written += 10;
    }

    fn assert_exactly_once(&self, files: &[&[u8]]) {
        let mut captured = Captured::parse(&[]).expect("nothing");
        for bytes in files {
            captured.add(bytes).expect("records of the contract");
        }
        let written: Vec<_> = (1..=self.written)
            .map(|number| number.to_string().into_bytes())
            .collect();
        let account = captured.account("web", "stdout", &written);
        assert_eq!(account.complaint(), "");
    }
}

/// What `/readyz` says of a part.
fn part(agent: &Agent, name: &str) -> Option<serde_json::Value> {
    let answer = agent.admin.get("/readyz").ok()?;
    let page: serde_json::Value = serde_json::from_str(&answer.body).ok()?;
    page["parts"].get(name).cloned()
}

#[test]
fn output_that_is_copied_and_truncated_has_every_line_once_also_after_a_sigkill() {
    needs!(requirements::engine());
    let mut turns = Turns::start();
    let mut agent = Launch::on(turns.engine.socket()).start();
    agent.wait_ready();
    let mut copies = Vec::new();
    for _ in 0..2 {
        turns.write();
        agent.wait_records(10, PATIENCE);
        sleep(CHECKPOINT);
        // Nothing is written meanwhile: what comes between the copy and the truncation is lost to nobody's surprise.
        copies.push(fs::read(agent.output()).expect("copy it"));
        fs::write(agent.output(), "").expect("truncate it");
        turns.write();
        agent.wait_records(10, PATIENCE);
        sleep(CHECKPOINT);
        agent.kill();
        agent.start_again();
        agent.wait_ready();
        turns.write();
        agent.wait_records(20, PATIENCE);
        copies.push(fs::read(agent.output()).expect("copy it"));
        fs::write(agent.output(), "").expect("truncate it");
        // At once, before the next checkpoint.
        turns.write();
        agent.wait_records(10, PATIENCE);
        agent.kill();
        agent.start_again();
        agent.wait_ready();
        sleep(2 * SECOND);
        copies.push(fs::read(agent.output()).expect("copy it"));
        fs::write(agent.output(), "").expect("truncate it");
    }
    agent.stop();
    let copies: Vec<_> = copies.iter().map(Vec::as_slice).collect();
    turns.assert_exactly_once(&copies);
}

#[test]
fn output_that_is_renamed_is_begun_anew_at_a_signal_and_the_old_file_is_complete() {
    needs!(requirements::engine());
    let mut turns = Turns::start();
    let mut agent = Launch::on(turns.engine.socket()).start();
    agent.wait_ready();
    let mut old = Vec::new();
    for signal in [Signal::USR1, Signal::HUP] {
        turns.write();
        agent.wait_records(10, PATIENCE);
        let renamed = agent.output().with_extension("1");
        fs::rename(agent.output(), &renamed).expect("rename it");
        agent.signal(signal);
        // Without a line that would have to go there.
        wait::until("a new file", PATIENCE, || agent.output().exists().then_some(()));
        // As a program does that compresses it.
        old.push(fs::read(&renamed).expect("read it"));
        fs::remove_file(renamed).expect("remove it");
        turns.write();
        agent.wait_records(10, PATIENCE);
        let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("its descriptors");
        let mut links = descriptors
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        let held = links.find(|link| link.to_string_lossy().contains("lines.1"));
        assert_eq!(held, None, "the old file is still open");
    }
    let last = fs::read(agent.output()).expect("the last file");
    agent.stop();
    let [first, second] = &old[..] else { panic!() };
    turns.assert_exactly_once(&[first, second, &last]);
}

#[test]
fn output_that_is_renamed_just_before_a_sigkill_has_every_line_once() {
    needs!(requirements::engine());
    let mut turns = Turns::start();
    let mut agent = Launch::on(turns.engine.socket()).start();
    agent.wait_ready();
    turns.write();
    agent.wait_records(10, PATIENCE);
    sleep(CHECKPOINT);
    turns.write();
    agent.wait_records(20, PATIENCE);
    let renamed = agent.output().with_extension("1");
    fs::rename(agent.output(), &renamed).expect("rename it");
    agent.signal(Signal::USR1);
    wait::until("a new file", PATIENCE, || agent.output().exists().then_some(()));
    turns.write();
    agent.wait_records(10, PATIENCE);
    agent.kill();
    agent.start_again();
    agent.wait_ready();
    turns.write();
    agent.wait_records(20, PATIENCE);
    sleep(2 * SECOND);
    agent.stop();
    let files = [renamed, agent.output()].map(|file| fs::read(file).expect("read it"));
    turns.assert_exactly_once(&[&files[0], &files[1]]);
}

#[test]
fn two_files_have_a_name_each_in_metrics_and_readiness() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let launch = Launch::on(engine.socket()).to_stdout();
    let (first, second) = (launch.home().join("first"), launch.home().join("second"));
    let more = format!(
        "  - {{type: file, path: {}}}\n  - {{type: file, name: archive, path: {}}}",
        first.display(),
        second.display()
    );
    let mut agent = launch.more_sinks(&more).start();
    agent.wait_ready();
    Writer::new("web", Kind::Short, 100).start(&engine);
    wait::until("every sink to have every line", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let delivered = |sink| metrics.sum("lines_delivered_total", &[("sink", sink)]);
        ["stdout", "file", "archive"]
            .iter()
            .all(|sink| delivered(sink) == Some(100.0))
            .then_some(())
    });
    for sink in ["stdout", "file", "archive"] {
        let status = part(&agent, &format!("sink {sink}")).unwrap_or_else(|| panic!("no part of sink {sink}"));
        assert_eq!(status["ready"], true, "{sink}: {status}");
    }
    assert_eq!(
        fs::read(first).expect("the first"),
        fs::read(second).expect("the second")
    );
    agent.stop();
}

/// Where the agent sees a small disk, and nobody else does.
const SMALL_DISK: &str = "mkdir state && mount -t tmpfs -o size=128k,mode=700 tmpfs state && dd if=/dev/zero of=state/ballast \
                          bs=4k 2>/dev/null; \"$@\"; exit $?";

#[test]
fn a_full_disk_under_the_state_stops_nothing_and_is_told_until_it_has_room_and_at_the_end() {
    needs!(requirements::engine(), requirements::program("unshare"));
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .under(&["unshare", "--mount", "sh", "-c", SMALL_DISK, "sh"])
        .start();
    let failing = |agent: &Agent| {
        let state = part(agent, "state").filter(|state| state["ready"] == false)?;
        state["detail"].as_str()?.contains("cannot be saved").then_some(())
    };
    wait::until("/readyz to name the state", PATIENCE, || failing(&agent));
    agent.wait_said("positions cannot be saved", PATIENCE);
    let failures = |agent: &Agent| agent.admin.metrics().ok()?.sum("position_save_failures_total", &[]);
    let first = failures(&agent).expect("/metrics");
    wait::until("another attempt", PATIENCE, || {
        (failures(&agent)? > first).then_some(())
    });
    // It captures all the same.
    Writer::new("web", Kind::Short, 100).start(&engine);
    agent.wait_records(100, PATIENCE);

    let ballast = inside(&agent, &agent.home().join("state/ballast"));
    fs::remove_file(&ballast).expect("make room");
    agent.wait_ready();
    wait_saved_once(&agent);

    fs::write(&ballast, vec![0; 128 << 10]).expect_err("the disk is full again");
    Writer::new("other", Kind::Short, 100).start(&engine);
    agent.wait_records(200, PATIENCE);
    wait::until("/readyz to name the state again", PATIENCE, || failing(&agent));
    agent.signal(Signal::TERM);
    let status = agent.wait_exit(STOP);
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(
        agent.stderr().contains("the last positions cannot be saved"),
        "{}",
        agent.stderr()
    );
}

fn wait_saved_once(agent: &Agent) {
    wait::until("a checkpoint", PATIENCE, || {
        let saved = agent
            .admin
            .metrics()
            .ok()?
            .sum("positions_saved_timestamp_seconds", &[])?;
        (saved > 0.0).then_some(())
    });
}

/// A path as the agent sees it.
fn inside(agent: &Agent, path: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()));
    root.join(path.strip_prefix("/").expect("an absolute path"))
}
