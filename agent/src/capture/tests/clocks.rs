//! Clocks that are set back.

use super::*;

const YEAR: i64 = 365 * 24 * 3_600 * 1_000_000_000;

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_and_a_log_that_was_truncated_cost_no_later_line() {
    let engine = Engine::start();
    engine.run("a");
    let agent = Agent::start(&engine, "{}");
    for number in 0..100 {
        engine.write("a", BEGAN + number * 1_000, &format!("line {number}"));
    }
    agent.settle("a", 100).await;
    let positions = agent.stop().await;

    engine.truncate("a");
    let agent = Agent::start_with(&engine, "{}", 50, positions);
    for number in 100..200 {
        engine.write("a", BEGAN - YEAR + number * 1_000, &format!("line {number}"));
    }
    agent.settle("a", 100).await;
    assert_eq!(agent.lines("a"), lines(100..200));
    assert_eq!(agent.gaps("a"), 1);
    // And the next reopen knows them.
    let positions = agent.stop().await;
    let agent = Agent::start_with(&engine, "{}", 50, positions);
    engine.write("a", BEGAN - YEAR + 200_000, "line 200");
    agent.settle("a", 1).await;
    assert_eq!(agent.lines("a"), lines(200..201));
    assert_eq!(agent.gaps("a"), 0, "a gap where there is none");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_and_on_again_hides_no_line_from_a_reopened_stream() {
    let engine = Engine::start();
    engine.run("a");
    let agent = Agent::start(&engine, "{}");
    for number in 0..100 {
        engine.write("a", BEGAN + number, &format!("line {number}"));
    }
    agent.settle("a", 100).await;
    let positions = agent.stop().await;
    // More than the end of the log that is asked for first, of which an engine that goes by the time sends none.
    for number in 100..5_000 {
        engine.write("a", BEGAN - YEAR + number, &format!("line {number}"));
    }
    engine.write("a", BEGAN + 5_000, "line 5000");
    let agent = Agent::start_with(&engine, "{}", 50, positions);
    agent.settle("a", 4_901).await;
    assert_eq!(agent.lines("a"), lines(100..5_001));
    assert_eq!(agent.gaps("a"), 0, "a gap where there is none");
}
