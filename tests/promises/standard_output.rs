//! Standard output is a pipe, which may be slow, and may end.

use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Launch, STOP};
use integration::control::{self, BUSY};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};

const MEMORY: u64 = 64 << 20;

#[test]
fn a_pipe_that_nobody_reads_for_a_while_costs_no_line_and_no_memory() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).rotation("2s").to_stdout().start();
    agent.wait_ready();
    let writers = ["north", "south"].map(|name| Writer::new(name, Kind::Short, 250_000).pace(5_000, 0.05));
    for writer in &writers {
        writer.start(&engine);
    }
    let deaf_until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < deaf_until {
        let resident = witness::resident(agent.pid());
        assert!(resident < MEMORY, "{} MiB resident while nobody reads", resident >> 20);
        sleep(Duration::from_millis(100));
    }
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);
    control::effort(agent.pid(), Duration::from_secs(2)).assert_below(2.0 * BUSY, "being blocked");

    let mut pipe = agent.stdout.take().expect("standard output");
    let total = writers.len() * 250_000;
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    for writer in &writers {
        engine.wait(&writer.name);
    }
    wait::until("every line to be delivered", 3 * PATIENCE, || {
        let delivered = agent.admin.metrics().ok()?.sum("lines_delivered_total", &[])?;
        (delivered >= total as f64).then_some(())
    });
    sleep(Duration::from_secs(3));
    agent.stop();
    let bytes = reader.join().expect("the reader").expect("read the pipe");
    let captured = Captured::parse(&bytes).expect("records of the contract");
    for writer in &writers {
        let account = captured.account(&writer.name, "stdout", &writer.expected("stdout"));
        assert_eq!(account.complaint(), "", "{}", writer.name);
    }
}

#[test]
fn sigterm_ends_it_although_nobody_reads_the_pipe() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).to_stdout().start();
    agent.wait_ready();
    Writer::new("web", Kind::Short, 1_000_000)
        .pace(5_000, 0.01)
        .start(&engine);
    sleep(Duration::from_secs(3));
    agent.signal(integration::agent::Signal::TERM);
    // What was read could not be delivered, so the exit code may say so.
    let status = agent.wait_exit(STOP);
    assert!(status.code().is_some(), "killed by a signal: {status}");
}

#[test]
fn a_reader_that_goes_away_ends_it_with_a_message() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).to_stdout().start();
    agent.wait_ready();
    drop(agent.stdout.take());
    Writer::new("web", Kind::Short, 10_000).start(&engine);
    let status = agent.wait_exit(PATIENCE);
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    let stderr = agent.stderr();
    assert!(
        stderr.contains("stdout") || stderr.contains("standard output"),
        "standard output is not named in:\n{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
}
