//! Containers that end.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_follow_that_the_engine_never_ends_holds_its_slot_for_a_bounded_time() {
    let engine = Engine::start();
    engine.never_end_follows();
    for name in ["dies", "destroyed"] {
        engine.run(name);
    }
    let agent = Agent::start_with(&engine, "{}", 2, Positions::default());
    for number in 0..10 {
        for name in ["dies", "destroyed"] {
            engine.write(name, BEGAN + number, &format!("line {number}"));
        }
    }
    agent.settle("destroyed", 10).await;
    engine.die("dies");
    engine.die("destroyed");
    // The last line can come behind the event.
    sleep(SECOND).await;
    engine.write("dies", BEGAN + 10, "line 10");
    engine.destroy("destroyed");
    // Two more than there are slots wait for one.
    for name in ["next", "last"] {
        engine.run(name);
        engine.write(name, BEGAN, "line 0");
    }
    sleep(20 * SECOND).await;
    assert_eq!(engine.follows("dies"), 0, "it holds its connection");
    assert_eq!(agent.metrics.streams_active.get(), 2, "they hold their slots");
    assert_eq!(agent.lines("dies"), lines(0..11));
    assert_eq!(agent.lines("destroyed"), lines(0..10));
    for name in ["next", "last"] {
        assert_eq!(agent.lines(name), lines(0..1), "{name}");
    }
    for name in ["dies", "destroyed", "next", "last"] {
        assert_eq!(agent.gaps(name), 0, "{name}: a gap where there is none");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_was_created_and_ran_while_nobody_looked_is_read_by_the_list() {
    let engine = Engine::start();
    let agent = Agent::start_with(&engine, "{}", 2, Positions::default());
    sleep(SECOND).await;
    engine.create("short");
    sleep(SECOND).await;
    assert_eq!(
        engine.asked("short"),
        Vec::<String>::new(),
        "there is no log before it runs"
    );
    // Nobody tells of its start, or of its end.
    engine.write("short", BEGAN, "line 0");
    sleep(120 * SECOND).await;
    assert_eq!(agent.lines("short"), lines(0..1));
    assert_eq!(agent.gaps("short"), 0);
}
