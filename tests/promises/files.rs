//! Logs that are read from the files of the engine's log drivers. What the container wrote is counted, number by number:
//! the engine's own follow loses lines of a log that rotates.

use std::fs;
use std::io::Read as _;
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{self, Agent, Launch, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);

/// Lines that nobody could mistake for another one.
fn expected(lines: usize) -> Vec<Vec<u8>> {
    (1..=lines).map(|number| format!("o {number}").into_bytes()).collect()
}

/// As fast as the engine takes them.
fn flat_out(lines: usize) -> String {
    format!("seq 1 {lines} | sed 's/^/o /'")
}

/// `burst` lines every so many milliseconds.
fn in_bursts(bursts: usize, burst: usize, millis: usize) -> String {
    format!(
        "i=0; while [ $i -lt {bursts} ]; do seq $((i*{burst}+1)) $((i*{burst}+{burst})) | sed 's/^/o /'; \
         usleep {micros}; i=$((i+1)); done",
        micros = 1000 * millis
    )
}

fn gaps(agent: &Agent) -> f64 {
    agent
        .admin
        .metrics()
        .expect("/metrics")
        .sum("gaps_total", &[])
        .unwrap_or(0.0)
}

/// The container's lines in its order, each once, and nothing said of missing ones.
fn assert_exact(agent: &mut Agent, name: &str, lines: usize) {
    agent.settle(lines, PATIENCE);
    let gaps = gaps(agent);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&[(name.to_owned(), "stdout", expected(lines))]);
    assert_eq!(gaps, 0.0, "{}", agent.stderr());
}

#[test]
fn a_log_that_rotates_while_it_is_written_flat_out_comes_whole() {
    needs!(requirements::engine());
    let lines = size("FLAT_OUT_LINES", 100_000) as usize;
    let engine = Engine::start();
    for (name, options) in [
        ("json", &["--log-opt", "max-size=1m", "--log-opt", "max-file=3"][..]),
        ("json-one-file", &["--log-opt", "max-size=1m"]),
        (
            "json-many",
            &["--log-opt", "max-size=100k", "--log-opt", "max-file=200"],
        ),
        (
            "json-packed",
            &[
                "--log-opt",
                "max-size=1m",
                "--log-opt",
                "max-file=3",
                "--log-opt",
                "compress=true",
            ],
        ),
        (
            "local",
            &[
                "--log-driver",
                "local",
                "--log-opt",
                "max-size=1m",
                "--log-opt",
                "max-file=5",
            ],
        ),
        ("local-default", &["--log-driver", "local"]),
    ] {
        let mut agent = Launch::on(engine.socket()).source("auto").kernel("off").start();
        agent.wait_ready();
        engine.run_script(name, options, &flat_out(lines));
        engine.wait(name);
        assert_exact(&mut agent, name, lines);
        engine.docker(&["rm", name]).expect("remove the container");
    }
}

#[test]
fn what_rotates_while_the_sink_stands_still_is_not_lost() {
    needs!(requirements::engine());
    const LINES: usize = 25_000;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .source("files")
        .kernel("off")
        .to_stdout()
        .start();
    agent.wait_ready();
    let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=3"];
    engine.run_script("web", &options, &in_bursts(100, LINES / 100, 50));
    engine.wait("web");
    // Nobody has read anything so far, and the engine has removed most of the log.
    let held = wait::until("files that only the agent holds", PATIENCE, || {
        let held = agent.admin.metrics().ok()?.sum("files_held_deleted_bytes", &[])?;
        (held > 0.0).then_some(held)
    });
    assert!(held > 300_000.0, "{held}");
    let mut stdout = agent.stdout.take().expect("standard output");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).expect("read the records");
        bytes
    });
    wait::until("all to be read", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        (metrics.sum("lines_delivered_total", &[])? >= LINES as f64).then_some(())
    });
    wait::until("nothing to be held any more", PATIENCE, || {
        (agent.admin.metrics().ok()?.sum("files_held_deleted_bytes", &[])? == 0.0).then_some(())
    });
    assert_eq!(gaps(&agent), 0.0, "{}", agent.stderr());
    agent.stop();
    let captured = Captured::parse(&reader.join().expect("the reader")).expect("records of the contract");
    captured.assert_exact(&[("web".to_owned(), "stdout", expected(LINES))]);
}

#[test]
fn what_rotates_while_the_agent_itself_stands_still_is_not_lost() {
    needs!(requirements::engine());
    const LINES: usize = 25_000;
    let engine = Engine::start();
    for (name, driver) in [("json", "json-file"), ("local", "local")] {
        let mut agent = Launch::on(engine.socket()).source("files").kernel("off").start();
        agent.wait_ready();
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=100k",
            "--log-opt",
            "max-file=200",
        ];
        engine.run_script(name, &options, &in_bursts(100, LINES / 100, 50));
        agent.wait_records(500, PATIENCE);
        agent.signal(Signal::STOP);
        engine.wait(name);
        agent.signal(Signal::CONT);
        assert_exact(&mut agent, name, LINES);
        engine.docker(&["rm", name]).expect("remove the container");
    }
}

#[test]
fn lines_that_were_removed_while_the_agent_stood_still_are_a_gap() {
    needs!(requirements::engine());
    const LINES: usize = 25_000;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).source("files").kernel("off").start();
    agent.wait_ready();
    let options = ["--log-opt", "max-size=100k", "--log-opt", "max-file=3"];
    engine.run_script("web", &options, &in_bursts(100, LINES / 100, 50));
    agent.wait_records(500, PATIENCE);
    agent.signal(Signal::STOP);
    engine.wait("web");
    agent.signal(Signal::CONT);
    wait::until("the gap to be counted", PATIENCE, || (gaps(&agent) > 0.0).then_some(()));
    agent.wait_said("log files were removed before they were read", PATIENCE);
    let last = expected(LINES).pop();
    wait::until("what is there to be read to the end", PATIENCE, || {
        let captured = Captured::read(&agent.output()).ok()?;
        (captured.lines("web", "stdout").last() == last.as_ref()).then_some(())
    });
    sleep(SECOND);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let lines = captured.lines("web", "stdout");
    let numbers: Vec<usize> = lines
        .iter()
        .map(|line| {
            std::str::from_utf8(&line[2..])
                .expect("a number")
                .parse()
                .expect("a number")
        })
        .collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "none twice, in order");
    assert_eq!(numbers.last(), Some(&LINES), "what is there is read to the end");
    assert!(numbers.len() < LINES, "the engine has removed none of it");
}

#[test]
fn a_switch_between_files_and_api_neither_loses_nor_doubles_a_line() {
    needs!(requirements::engine());
    let switches = size("SWITCHES", 6) as usize;
    let engine = Engine::start();
    let bursts = 60 * switches + 60;
    let (burst, lines) = (200, 200 * bursts);
    for (name, driver) in [("json", "json-file"), ("local", "local")] {
        let options = [
            "--log-driver",
            driver,
            "--log-opt",
            "max-size=1m",
            "--log-opt",
            "max-file=10",
        ];
        let mut agent = Launch::on(engine.socket()).source("auto").kernel("off").start();
        engine.run_script(name, &options, &in_bursts(bursts, burst, 40));
        for switch in 0..switches {
            sleep(2 * SECOND);
            if switch % 2 == 0 {
                agent.kill();
            } else {
                agent.stop();
            }
            let config = agent.home().join("config.yaml");
            let text = fs::read_to_string(&config).expect("the configuration");
            let other = if switch % 2 == 0 { "source: api" } else { "source: auto" };
            let before = if switch % 2 == 0 { "source: auto" } else { "source: api" };
            assert!(text.contains(before), "{text}");
            fs::write(&config, text.replace(before, other)).expect("write the configuration");
            agent.start_again();
        }
        engine.wait(name);
        assert_exact(&mut agent, name, lines);
        engine.docker(&["rm", name]).expect("remove the container");
    }
}

#[test]
fn of_containers_that_the_engine_removes_at_once_every_line_comes_from_their_files() {
    needs!(requirements::engine());
    let count = size("SHORT_LIVED", 100) as usize;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).source("files").kernel("off").start();
    agent.wait_ready();
    let names: Vec<_> = (0..count).map(|number| format!("removed-{number:04}")).collect();
    std::thread::scope(|scope| {
        for names in names.chunks(count.div_ceil(4)) {
            let engine = &engine;
            scope.spawn(move || {
                for name in names {
                    // The last line has no line feed.
                    engine.run_script(name, &["--rm"], "echo o 1; echo o 2; printf 'o 3'");
                }
            });
        }
    });
    agent.settle(3 * count, PATIENCE);
    let gaps = gaps(&agent);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let all: Vec<_> = names.into_iter().map(|name| (name, "stdout", expected(3))).collect();
    captured.assert_exact(&all);
    assert_eq!(gaps, 0.0, "{}", agent.stderr());
}

#[test]
fn a_log_file_that_somebody_truncates_is_a_counted_gap_and_is_read_on() {
    needs!(requirements::engine());
    let engine = Engine::start();
    for (name, options) in [
        ("plain", &[][..]),
        // After a rotation the engine's descriptor is not for appending: a truncation leaves a hole (moby#53631).
        ("rotated", &["--log-opt", "max-size=20k", "--log-opt", "max-file=5"]),
    ] {
        let mut agent = Launch::on(engine.socket()).source("files").kernel("off").start();
        agent.wait_ready();
        let id = engine.run_script(
            name,
            options,
            &format!("{}; sleep 3; seq 1001 1010 | sed 's/^/o /'", flat_out(1000)),
        );
        agent.wait_records(1000, PATIENCE);
        let id = id.trim();
        let log = engine.dir().join(format!("data/containers/{id}/{id}-json.log"));
        fs::File::options()
            .write(true)
            .open(&log)
            .and_then(|file| file.set_len(0))
            .expect("truncate the log");
        agent.wait_records(1010, PATIENCE);
        agent.wait_said("its log file was truncated", PATIENCE);
        assert_eq!(gaps(&agent), 1.0, "{}", agent.stderr());
        agent.stop();
        let captured = Captured::read(&agent.output()).expect("records of the contract");
        captured.assert_exact(&[(name.to_owned(), "stdout", expected(1010))]);
        engine.docker(&["rm", "--force", name]).expect("remove the container");
    }
}

#[test]
fn a_log_whose_files_cannot_be_read_is_read_through_the_api_and_the_log_says_why() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .source("auto")
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_FILES_ROOT", "/nonexistent")
        .start();
    agent.wait_ready();
    engine.run_script("web", &[], &format!("{}; sleep 60", flat_out(100)));
    agent.wait_records(100, PATIENCE);
    agent.wait_said("its log is read through the API", PATIENCE);
    agent.wait_said("is not in /nonexistent", PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("capture_source", &[("source", "api")]), Some(1.0));
    agent.stop();

    let mut agent = Launch::on(engine.socket()).source("auto").kernel("off").start();
    agent.wait_records(100, PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("capture_source", &[("source", "file")]), Some(1.0));
    assert_eq!(metrics.sum("container_streams_active", &[]), Some(1.0));
    let rows = agent.admin.connections().expect("/connections");
    assert!(
        rows.iter().all(|row| row.container.is_none()),
        "no connection is held for a log: {rows:?}"
    );
    agent.stop();
}

#[test]
fn doctor_says_from_where_each_container_is_read_and_why() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let id = engine.run_script("json", &[], "sleep 60");
    engine.run_script("none", &["--log-driver", "none"], "sleep 60");
    let doctor = |arguments: &[&str]| {
        let mut command = agent::command(&agent::binary());
        command
            .arg("doctor")
            .args(["--set", &format!("docker.host=unix://{}", engine.socket().display())]);
        let output = command.args(arguments).output().expect("run doctor");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let said = doctor(&[]);
    let file = format!("{id}-json.log", id = id.trim());
    assert!(
        said.contains("json: running, log driver json-file: read from /") && said.contains(&file),
        "{said}"
    );
    assert!(
        said.contains("none: running, log driver none: cannot be read"),
        "{said}"
    );
    let said = doctor(&["--set", "capture.source=api"]);
    assert!(said.contains("read through the API: capture.source is api"), "{said}");
    let said = doctor(&["--set", "capture.files.root=/nonexistent"]);
    assert!(
        said.contains("read through the API: the engine's folder for it is not in /nonexistent"),
        "{said}"
    );
}

#[test]
fn a_container_without_a_position_is_read_from_where_the_configuration_says() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let script = "trap 'echo o 3' USR1; echo o 1; echo o 2; while :; do sleep 0.1; done";
    engine.run_script("old", &[], script);
    sleep(3 * SECOND);
    for source in ["api", "files"] {
        let mut agents = ["end", "2s", "1h"].map(|start| {
            Launch::on(engine.socket())
                .source(source)
                .kernel("off")
                .environment("LOG_CAPTURER_CAPTURE_START", start)
                .start()
        });
        if source == "api" {
            for agent in &agents {
                wait::until("the log to be followed", PATIENCE, || {
                    (agent.admin.metrics().ok()?.sum("container_streams_active", &[])? == 1.0).then_some(())
                });
            }
            engine
                .docker(&["kill", "--signal", "USR1", "old"])
                .expect("let it write another line");
        }
        let wanted = if source == "api" { [1, 1, 3] } else { [0, 0, 3] };
        for (agent, wanted) in agents.iter_mut().zip(wanted) {
            agent.settle(wanted, PATIENCE);
            agent.stop();
            let captured = Captured::read(&agent.output()).expect("records of the contract");
            let all = expected(3)[3 - wanted..].to_vec();
            captured.assert_exact(&[("old".to_owned(), "stdout", all)]);
        }
        // The last line is to be older than that, too.
        sleep(3 * SECOND);
    }
}
