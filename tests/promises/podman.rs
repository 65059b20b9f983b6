//! Podman speaks the engine's API, with manners of its own: times of whole seconds, and `died` for `die`.

use std::time::{Duration, Instant};

use integration::agent::Launch;
use integration::lines::Captured;
use integration::podman::Podman;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

#[test]
fn podman_is_an_engine_like_any_other() {
    needs!(requirements::engine(), requirements::program("podman"));
    let podman = Podman::start();
    let before = Writer::new("before", Kind::Mixed, 100).pace(10, 0.1);
    podman.run_script(&before.name, &before.script());
    let mut agent = Launch::on(&podman.socket()).rotation("2s").start();
    agent.wait_ready();
    // Behind a time of whole seconds, the end of this name is where the engine's nine digits would end.
    let writers = [
        before,
        Writer::new("nine-long", Kind::Short, 300).pace(10, 0.1),
        Writer::new("mixed", Kind::Mixed, 300).pace(10, 0.1),
        // Some of its lines are written while a stream is opened.
        Writer::new("busy", Kind::Short, 6_000).pace(10, 0.01),
    ];
    for writer in &writers[1..] {
        podman.run_script(&writer.name, &writer.script());
    }
    agent.wait_records(300, PATIENCE);
    agent.kill();
    agent.start_again();
    agent.wait_ready();
    for writer in &writers {
        podman.run(&["wait", &writer.name]);
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

/// The list, which is asked for once a minute, would tell of the end as well.
#[test]
fn the_last_line_of_a_container_comes_when_it_ends() {
    needs!(requirements::engine(), requirements::program("podman"));
    let podman = Podman::start();
    for source in ["api", "auto"] {
        let mut agent = Launch::on(&podman.socket()).source(source).kernel("off").start();
        agent.wait_ready();
        let name = format!("unterminated-{source}");
        podman.run_script(&name, "echo first; sleep 1; printf last");
        podman.run(&["wait", &name]);
        let ended = Instant::now();
        agent.wait_records(2, PATIENCE);
        let late = ended.elapsed();
        agent.stop();
        let captured = Captured::read(&agent.output()).expect("records of the contract");
        captured.assert_exact(&[(name, "stdout", vec![b"first".to_vec(), b"last".to_vec()])]);
        assert!(late < Duration::from_secs(20), "{source}: {late:.1?} after the end");
        println!("{source}: {late:.1?} after the end");
    }
}
