//! SIGTERM under load.

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::{self, PATIENCE};
use integration::witness;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

#[test]
fn sigterm_under_load_leaves_whole_lines_and_no_connection() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("required").start();
    agent.wait_ready();
    let writers =
        ["north", "east", "south", "west"].map(|name| Writer::new(name, Kind::Mixed, 1_000_000).pace(100, 0.05));
    for writer in &writers {
        writer.start(&engine);
    }
    wait::until("lines of every container", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let has_lines = |writer: &Writer| {
            ["stdout", "stderr"].iter().all(|stream| {
                let labels = [("container", writer.name.as_str()), ("stream", stream)];
                metrics.sum("lines_read_total", &labels) >= Some(500.0)
            })
        };
        writers.iter().all(has_lines).then_some(())
    });
    let held = witness::connections(agent.pid(), engine.socket());
    assert!(held.inodes.len() >= 4, "{held:?}");

    agent.stop();

    // What was read is delivered: a beginning without a hole, and no torn line at its end.
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    for writer in &writers {
        for stream in ["stdout", "stderr"] {
            let written = writer.expected(stream);
            let lines = captured.lines(&writer.name, stream);
            assert!(!lines.is_empty(), "{} {stream}", writer.name);
            let account = captured.account(&writer.name, stream, &written[..lines.len()]);
            assert_eq!(account.complaint(), "", "{} {stream}", writer.name);
        }
    }
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
    let stderr = agent.stderr();
    assert!(!stderr.contains("WARN"), "a stop is nothing to warn of:\n{stderr}");
    let left: Vec<_> = witness::unix_sockets()
        .into_iter()
        .filter(|socket| held.inodes.contains(&socket.inode))
        .collect();
    assert!(left.is_empty(), "held by somebody after the agent's end: {left:?}");
}
