//! Podman speaks the engine's API, with manners of its own: times of whole seconds, and `died` for `die`.

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
