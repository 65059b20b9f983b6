//! Twenty containers that do whatever harms others, all at once, beside ten that write calmly.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant, SystemTime};

use integration::agent::{Agent, Launch};
use integration::control::Control;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};
use serde_json::Value;

const CALM: usize = 10;
/// Lines of each calm container: ten a second.
const LINES: usize = 150;
/// How long the calm ones are alone.
const ALONE: Duration = Duration::from_secs(5);
/// Most that the agent may have allocated, as in `hostile_labels`.
const ALLOCATED: u64 = 32 << 20;
/// No harm yet, whatever it is twice of: a reading rests for 10 ms where lines come.
const NOTHING: Duration = Duration::from_millis(50);
/// How long `/healthz` may take.
const HEALTHY: Duration = Duration::from_secs(1);

/// Each kind of harm, with the labels and the script of a container that does it.
fn harms() -> [(&'static str, Vec<String>, String); 5] {
    let label = |text: &str| format!("--label={text}");
    let long = |n| format!("l{n:02}={}", "x".repeat(380));
    [
        // Each byte of the line can begin a match that goes on for thousands of bytes.
        (
            "expression",
            vec![label("log-capturer.multiline=a[ab]{10000}[^ab]")],
            "head -c 250000 /dev/zero | tr '\\0' a; echo; sleep 1; echo".to_owned(),
        ),
        (
            "labels",
            (0..40)
                .map(|n| label(&long(n)))
                .chain([label(&format!("com.docker.compose.project={}", "x".repeat(100_000)))])
                .collect(),
            "yes '' | head -n 1000".to_owned(),
        ),
        (
            "flood",
            vec![label("log-capturer.rate-limit=off")],
            format!("yes {} | head -n 20000", "f".repeat(200)),
        ),
        (
            "nonsense",
            vec![
                label("log-capturer.exclude=perhaps"),
                label("log-capturer.rate-limit=many"),
                label(r"log-capturer.multiline=^(\w{20}"),
            ],
            "head -c 300000 /dev/urandom; echo".to_owned(),
        ),
        (
            "restarts",
            vec!["--restart=always".to_owned()],
            "echo again; sleep 0.2".to_owned(),
        ),
    ]
}

/// How long the file was, and when. Only that is looked at while the agent works: who reads along falls behind a flood, and
/// takes it for the agent's lateness.
fn lengths(agent: &Agent, over: &AtomicBool) -> Vec<(SystemTime, usize)> {
    let mut lengths = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let length = agent.output().metadata().map_or(0, |file| file.len());
        lengths.push((SystemTime::now(), usize::try_from(length).expect("a length")));
        sleep(Duration::from_millis(2));
    }
    lengths
}

/// The records of the calm containers, with the time at which each was written, and how late it was in the file.
fn calm(output: &[u8], lengths: &[(SystemTime, usize)]) -> (Vec<u8>, Vec<(SystemTime, Duration)>) {
    let (mut records, mut late, mut end) = (Vec::new(), Vec::new(), 0);
    for record in output.split_inclusive(|byte| *byte == b'\n') {
        end += record.len();
        let told: Value = serde_json::from_slice(record).expect("JSON");
        if !told["container"]["name"].as_str().expect("a name").starts_with("calm-") {
            continue;
        }
        let written: jiff::Timestamp = told["ts"].as_str().expect("a time").parse().expect("RFC 3339");
        let written = SystemTime::from(written);
        let there = lengths.partition_point(|(_, length)| *length < end);
        let (there, _) = lengths[there];
        late.push((written, there.duration_since(written).unwrap_or_default()));
        records.extend_from_slice(record);
    }
    (records, late)
}

fn p99(mut late: Vec<Duration>) -> Duration {
    late.sort_unstable();
    late[late.len() * 99 / 100]
}

/// The longest that `/healthz` took, and the most that was allocated, until `over`.
fn watched(agent: &Agent, over: &AtomicBool) -> (Duration, u64) {
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
        slowest = slowest.max(asked.elapsed());
        most = most.max(witness::allocated(agent.pid()));
        sleep(Duration::from_millis(20));
    }
    (slowest, most)
}

/// Clients of the admin server that send half a request, and nothing more.
fn slow_clients(agent: &Agent) -> Vec<TcpStream> {
    let half = b"GET /metrics HTTP/1.1\r\nHo";
    let clients = (0..16).map(|_| {
        let mut client = TcpStream::connect(agent.admin.address()).expect("connect");
        client.write_all(half).expect("half a request");
        client
    });
    clients.collect()
}

fn all_at_once(source: &'static str) {
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).source(source).kernel("off").start();
    agent.wait_ready();
    let writers: Vec<Writer> = (0..CALM)
        .map(|n| Writer::new(format!("calm-{n}"), Kind::Short, LINES).pace(1, 0.1))
        .collect();
    let over = AtomicBool::new(false);
    let control = Control::start();
    let (lengths, began, (slowest, most)) = scope(|scope| {
        let lengths = scope.spawn(|| lengths(&agent, &over));
        for writer in &writers {
            writer.start(&engine);
        }
        sleep(ALONE);
        let began = SystemTime::now();
        let watcher = scope.spawn(|| watched(&agent, &over));
        let clients = slow_clients(&agent);
        for (harm, labels, script) in harms() {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            for n in 0..4 {
                engine.run_script(&format!("{harm}-{n}"), &labels, &script);
            }
        }
        for writer in &writers {
            engine.wait(&writer.name);
            let delivered = [("container", writer.name.as_str())];
            wait::until("a calm container's lines", PATIENCE, || {
                let metrics = agent.admin.metrics().ok()?;
                (metrics.sum("lines_read_total", &delivered)? >= LINES as f64).then_some(())
            });
        }
        // What was captured last is handed on by then.
        sleep(HEALTHY);
        over.store(true, Ordering::Relaxed);
        drop(clients);
        (
            lengths.join().expect("the reader"),
            began,
            watcher.join().expect("the watcher"),
        )
    });
    agent.stop();

    let output = std::fs::read(agent.output()).expect("the records");
    let (records, late) = calm(&output, &lengths);
    let (alone, beside): (Vec<_>, Vec<_>) = late.into_iter().partition(|(written, _)| *written < began);
    let [alone, beside] = [alone, beside].map(|late| p99(late.into_iter().map(|(_, late)| late).collect()));
    eprintln!(
        "{source}: p99 {alone:.1?} alone, {beside:.1?} beside; /healthz {slowest:.1?}; {} MiB",
        most >> 20
    );
    let captured = Captured::parse(&records).expect("records of the contract");
    for writer in &writers {
        let account = captured.account(&writer.name, "stdout", &writer.expected("stdout"));
        assert!(account.is_exact(), "{}: {}", writer.name, account.complaint());
    }
    // Where other tests share the processors, single turns take longer than any harm is meant to.
    let bound = control.prices().stretched((2 * alone).max(NOTHING));
    assert!(beside < bound, "{beside:.1?} beside, {alone:.1?} alone");
    assert!(slowest < HEALTHY, "/healthz took {slowest:.1?}");
    assert!(most < ALLOCATED, "{} MiB allocated", most >> 20);
}

#[test]
fn all_at_once_cost_their_neighbours_nothing_by_the_api() {
    needs!(requirements::engine());
    all_at_once("api");
}

#[test]
fn all_at_once_cost_their_neighbours_nothing_from_files() {
    needs!(requirements::engine());
    all_at_once("files");
}
