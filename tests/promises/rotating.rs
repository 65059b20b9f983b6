//! Logs that the engine rotates quickly, through the API. Whoever follows one loses lines, and the engine says nothing of
//! it: so each line comes once and in order, or a gap is counted.

use std::io::Read as _;
use std::time::Duration;

use integration::agent::{Agent, Launch, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

const BURSTS: usize = 100;

fn options(driver: &'static str, max_size: &'static str, max_file: &'static str) -> [&'static str; 6] {
    ["--log-driver", driver, "--log-opt", max_size, "--log-opt", max_file]
}

fn flat_out(lines: usize) -> String {
    format!("seq 1 {lines} | sed 's/^/o /'")
}

/// So many lines in five seconds and more.
fn in_bursts(lines: usize) -> String {
    let burst = lines / BURSTS;
    format!(
        "i=0; while [ $i -lt {BURSTS} ]; do seq $((i*{burst}+1)) $((i*{burst}+{burst})) | sed 's/^/o /'; \
         usleep 50000; i=$((i+1)); done"
    )
}

fn gaps(agent: &Agent) -> f64 {
    let metrics = agent.admin.metrics().expect("/metrics");
    metrics.sum("gaps_total", &[]).unwrap_or(0.0)
}

fn numbers(captured: &Captured, name: &str) -> Vec<usize> {
    let number = |line: &Vec<u8>| std::str::from_utf8(&line[2..]).ok()?.parse().ok();
    let lines = captured.lines(name, "stdout").iter();
    lines.map(|line| number(line).expect("a number")).collect()
}

fn assert_each_once_or_a_gap(numbers: &[usize], lines: usize, gaps: f64, what: &str) {
    assert!(numbers.is_sorted_by(|a, b| a < b), "{what}: twice, or out of order");
    assert_eq!(numbers.last(), Some(&lines), "{what}: not read to its end");
    let missing = lines - numbers.len();
    println!("{what}: {} of {lines} lines, {gaps} gaps", numbers.len());
    assert!(
        missing == 0 || gaps > 0.0,
        "{what}: {missing} lines are missing in silence"
    );
}

/// The container has ended, and all that came of it is written.
fn settled(agent: &mut Agent, name: &str, lines: usize) -> (Vec<usize>, f64) {
    wait::until("the last line", PATIENCE, || {
        let captured = Captured::read(&agent.output()).ok()?;
        (numbers(&captured, name).last() == Some(&lines)).then_some(())
    });
    // What was followed is compared with the log when its end was read.
    std::thread::sleep(Duration::from_secs(2));
    let gaps = gaps(agent);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    (numbers(&captured, name), gaps)
}

#[test]
fn of_a_log_that_rotates_while_it_is_written_flat_out_each_line_comes_once_or_a_gap_is_counted() {
    needs!(requirements::engine());
    let lines = size("FLAT_OUT_LINES", 200_000) as usize;
    let engine = Engine::start();
    for (name, options) in [
        ("json-3", options("json-file", "max-size=10m", "max-file=3")),
        ("json-100", options("json-file", "max-size=10m", "max-file=100")),
        ("local-100", options("local", "max-size=10m", "max-file=100")),
        ("json-small", options("json-file", "max-size=1m", "max-file=3")),
        ("json-tiny", options("json-file", "max-size=100k", "max-file=3")),
    ] {
        let mut agent = Launch::on(engine.socket()).source("api").kernel("off").start();
        agent.wait_ready();
        engine.run_script(name, &options, &flat_out(lines));
        engine.wait(name);
        let (numbers, gaps) = settled(&mut agent, name, lines);
        assert_each_once_or_a_gap(&numbers, lines, gaps, name);
        engine.docker(&["rm", name]).expect("remove the container");
    }
}

#[test]
fn what_rotates_while_the_agent_itself_stands_still_comes_once_or_a_gap_is_counted() {
    needs!(requirements::engine());
    const LINES: usize = 25_000;
    let engine = Engine::start();
    for (name, max_file) in [("all", "max-file=200"), ("some", "max-file=3")] {
        let mut agent = Launch::on(engine.socket()).source("api").kernel("off").start();
        agent.wait_ready();
        engine.run_script(
            name,
            &options("json-file", "max-size=100k", max_file),
            &in_bursts(LINES),
        );
        agent.wait_records(500, PATIENCE);
        agent.signal(Signal::STOP);
        engine.wait(name);
        agent.signal(Signal::CONT);
        let (numbers, gaps) = settled(&mut agent, name, LINES);
        assert_each_once_or_a_gap(&numbers, LINES, gaps, name);
        if name == "all" {
            assert_eq!(numbers.len(), LINES, "the engine has every line");
        }
        engine.docker(&["rm", name]).expect("remove the container");
    }
}

#[test]
fn what_rotates_while_the_sink_stands_still_comes_once_or_a_gap_is_counted() {
    needs!(requirements::engine());
    const LINES: usize = 25_000;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .source("api")
        .kernel("off")
        .to_stdout()
        .start();
    agent.wait_ready();
    let options = options("json-file", "max-size=100k", "max-file=200");
    engine.run_script("web", &options, &in_bursts(LINES));
    engine.wait("web");
    let mut stdout = agent.stdout.take().expect("standard output");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stdout.read_to_end(&mut bytes).expect("read the records");
        bytes
    });
    wait::until("all to be read", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let delivered = metrics.sum("lines_delivered_total", &[])?;
        (delivered >= LINES as f64 || gaps(&agent) > 0.0).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    let gaps = gaps(&agent);
    agent.stop();
    let captured = Captured::parse(&reader.join().expect("the reader")).expect("records of the contract");
    assert_each_once_or_a_gap(&numbers(&captured, "web"), LINES, gaps, "web");
}
