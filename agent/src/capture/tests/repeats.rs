//! Lines that an engine repeats by itself, as Engine 20.10 does when it begins a file.

use super::*;

/// A container that writes a line in two seconds, whose stream was just rotated.
async fn rotated(engine: &Engine) -> Agent {
    engine.run("a");
    let agent = Agent::start(engine, "{rotation: {interval: 3s}}");
    let rotations = || agent.metrics.rotations.with_label_values(&["a", "unknown"]).get();
    for number in 0..5 {
        let before = rotations();
        engine.write("a", BEGAN + number * 2_000_000_001, &format!("line {number}"));
        // One that brings nothing new is not rotated.
        while rotations() == before {
            sleep(SECOND / 10).await;
        }
    }
    agent
}

#[tokio::test(start_paused = true)]
async fn the_first_new_line_of_a_reopened_stream_is_known_when_it_comes_again() {
    let engine = Engine::start();
    let agent = rotated(&engine).await;
    engine.write("a", BEGAN + 10_000_000_001, "line 5");
    engine.repeat("a", 1);
    sleep(SECOND).await;
    assert_eq!(agent.lines("a"), lines(0..6));
}

#[tokio::test(start_paused = true)]
async fn lines_from_before_a_reopen_are_known_when_they_come_again() {
    let engine = Engine::start();
    let agent = rotated(&engine).await;
    engine.repeat("a", 5);
    engine.write("a", BEGAN + 10_000_000_001, "line 5");
    engine.repeat("a", 6);
    sleep(SECOND).await;
    assert_eq!(agent.lines("a"), lines(0..6));
}
