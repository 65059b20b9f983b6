//! Whatever a container's labels ask for, it costs the others nothing.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch};
use integration::control::Control;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};
use serde_json::Value;

const SECOND: Duration = Duration::from_secs(1);

/// How long it takes until all lines of a container that starts now are delivered.
fn delivered(engine: &Engine, agent: &Agent, writer: &Writer) -> Duration {
    let start = Instant::now();
    writer.start(engine);
    wait::until("the neighbour's lines", PATIENCE, || {
        let captured = Captured::read(&agent.output()).ok()?;
        let lines = ["stdout", "stderr"].map(|stream| captured.lines(&writer.name, stream).len());
        (lines.iter().sum::<usize>() >= writer.lines).then_some(())
    });
    start.elapsed()
}

#[test]
fn an_expression_in_a_label_costs_no_other_container_its_lines() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .kernel("off")
        .environment(
            "LOG_CAPTURER_CAPTURE_MULTILINE_RULES",
            "[{start: '^start', containers: {name: heavy}}]",
        )
        .start();
    agent.wait_ready();
    let control = Control::start();
    let before = Writer::new("before", Kind::Short, 20);
    let alone = delivered(&engine, &agent, &before);

    // Each byte of the line can begin a match that goes on for thousands of bytes.
    let label = "--label=log-capturer.multiline=a[ab]{10000}[^ab]";
    let script = "echo start; head -c 250000 /dev/zero | tr '\\0' a; echo; echo start again";
    engine.run_script("heavy", &[label], script);
    engine.wait("heavy");
    let after = Writer::new("after", Kind::Short, 20);
    let beside = delivered(&engine, &agent, &after);
    println!("{alone:.1?} alone, {beside:.1?} beside");
    // It was a minute and more.
    let most = alone * 4 + control.prices().stretched(2 * SECOND);
    assert!(beside < most, "{beside:.1?}, and {alone:.1?} alone");
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
    agent.wait_records(20 + 20 + 2, PATIENCE);
    agent.stop();

    // The rule of the configuration holds in its place.
    let record = [b"start\n".as_slice(), &[b'a'; 250_000]].concat();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let mut expected = vec![("heavy".into(), "stdout", vec![record, b"start again".to_vec()])];
    expected.extend(before.expected_of_both());
    expected.extend(after.expected_of_both());
    captured.assert_exact(&expected);
    let stderr = agent.stderr();
    let told = stderr.lines().filter(|line| line.contains("log-capturer.multiline"));
    assert_eq!(told.count(), 1, "times told of the label:\n{stderr}");
}

#[test]
fn long_labels_of_short_lines_cost_no_memory_while_a_sink_stands_still() {
    needs!(requirements::engine());
    const LINES: usize = 20_000;
    let (engine, address) = Engine::start_on_tcp(&[]);
    let launch = Launch::at(&format!("tcp://{address}"))
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_FIELDS", "[compose]");
    let fifo = launch.home().join("lines.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("make a FIFO");
    let mut agent = launch.start();
    agent.wait_ready();
    let mut labels: Vec<String> = (0..40)
        .map(|n| format!("--label=l{n:02}={}", "x".repeat(380)))
        .collect();
    labels.push(format!("--label=com.docker.compose.project={}", "x".repeat(100_000)));
    labels.push("--label=com.docker.compose.service=web".into());
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let script = format!("yes '' | head -n {LINES}");
    engine.run_script("labelled", &labels, &script);
    engine.wait("labelled");
    let deaf_until = Instant::now() + 3 * SECOND;
    let mut most = 0;
    while Instant::now() < deaf_until {
        most = most.max(witness::allocated(agent.pid()));
        std::thread::sleep(SECOND / 100);
    }
    println!("{} MiB allocated at most while nobody reads", most >> 20);
    assert!(most < 32 << 20, "{} MiB allocated while nobody reads", most >> 20);

    let pipe = BufReader::new(File::open(&fifo).expect("open the FIFO"));
    let reader = std::thread::spawn(move || {
        let mut records = pipe.split(b'\n').map(|record| record.expect("read the FIFO"));
        let first = records.next();
        (first, 1 + records.count())
    });
    wait::until("every line to be delivered", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        most = most.max(witness::allocated(agent.pid()));
        (metrics.sum("lines_delivered_total", &[])? >= LINES as f64).then_some(())
    });
    println!("{} MiB allocated at most", most >> 20);
    assert!(most < 32 << 20, "{} MiB allocated while it is read", most >> 20);
    agent.stop();
    let (first, records) = reader.join().expect("the reader");
    assert_eq!(records, LINES);
    let first: Value = serde_json::from_slice(&first.expect("a record")).expect("JSON");
    let container = &first["container"];
    assert_eq!(container["compose"], serde_json::json!({"service": "web"}));
    // The longest one is left out, and reported.
    let labels = container["labels"].as_object().expect("labels");
    assert!(
        labels.len() > 30 && labels.contains_key("l00"),
        "{} labels",
        labels.len()
    );
    assert!(!labels.contains_key("com.docker.compose.project"));
    let stderr = agent.stderr();
    let told = stderr.lines().filter(|line| line.contains("too long for its records"));
    assert_eq!(told.count(), 1, "times told of the labels:\n{stderr}");
}
