//! Records that the engine cannot decode.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_decoded_costs_one_gap_and_no_other_line() {
    let engine = Engine::start();
    engine.run("a");
    let agent = Agent::start(&engine, "{}");
    for number in 0..50 {
        engine.write("a", BEGAN + number, &format!("line {number}"));
    }
    agent.settle("a", 50).await;
    engine.spoil("a");
    for number in 50..1_500 {
        engine.write("a", BEGAN + number, &format!("line {number}"));
        sleep(SECOND / 10).await;
    }
    agent.settle("a", 1_500).await;
    assert_eq!(agent.lines("a"), lines(0..1_500));
    assert_eq!(agent.gaps("a"), 1);
    // And the agent after it does not double what is behind the record.
    let positions = agent.stop().await;
    let agent = Agent::start_with(&engine, "{}", 50, positions);
    engine.write("a", BEGAN + 1_500, "line 1500");
    agent.settle("a", 1).await;
    assert_eq!(agent.lines("a"), lines(1_500..1_501));
    assert_eq!(agent.gaps("a"), 0, "a gap where there is none");
}
