//! A policy that is replaced while lines come.

use super::*;

const INCLUDES_A_AND_B: &str = "{include: [{name: a}, {name: b}], rotation: {interval: 1s}}";

/// A container that writes a line in each moment, until it is told to stop.
fn writes(engine: &Arc<Engine>, name: &'static str) -> JoinHandle<()> {
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        for number in 0..2_000 {
            engine.write(name, BEGAN + number * 5_000_001, &format!("line {number}"));
            sleep(SECOND / 200).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_is_replaced_under_load_costs_no_line_and_doubles_none() {
    let engine = Arc::new(Engine::start());
    for name in ["a", "b", "c"] {
        engine.run(name);
    }
    let agent = Agent::start(&engine, INCLUDES_A_AND_B);
    let writers = ["a", "b", "c"].map(|name| writes(&engine, name));
    sleep(3 * SECOND).await;
    assert!(!agent.lines("a").is_empty() && !agent.lines("b").is_empty());
    assert!(agent.lines("c").is_empty() && engine.asked("c").is_empty());

    // b is left out, and c is included.
    let mut other = policy("{exclude: [{name: b}], rotation: {interval: 1s}}");
    other.host = "renamed".into();
    agent.policies.replace(other);
    sleep(SECOND).await;
    assert_eq!(engine.follows("b"), 0, "the log of one that is left out is still read");
    let left = agent.lines("b").len();
    let series = agent.metrics.lines.with_label_values(&["b", "stdout"]).get();
    assert_eq!(series, 0, "its series are still there");
    sleep(2 * SECOND).await;
    assert_eq!(agent.lines("b").len(), left, "one that is left out is captured");
    assert!(!agent.lines("c").is_empty(), "one that is included is not captured");

    // b again: it goes on where it was left off.
    agent.policies.replace(policy("{rotation: {interval: 1s}}"));
    for writer in writers {
        writer.await.unwrap();
    }
    for name in ["a", "b", "c"] {
        agent.settle(name, 2_000).await;
        assert_eq!(agent.lines(name), lines(0..2_000), "{name}");
        assert_eq!(agent.gaps(name), 0, "{name}");
    }
    // The host changes at one line, and back at another.
    let hosts: Vec<_> = agent.records("a").into_iter().map(|(_, host)| host).collect();
    let changes = hosts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert_eq!((changes, hosts[0].as_str(), hosts[1_999].as_str()), (2, "host", "host"));
}

#[tokio::test(start_paused = true)]
async fn a_record_under_way_is_handed_on_before_lines_go_by_another_rule() {
    let engine = Engine::start();
    engine.run("a");
    let agent = Agent::start(&engine, "{multiline: {rules: [{start: '^first'}], max_delay: 1h}}");
    sleep(SECOND).await;
    engine.write("a", BEGAN, "first");
    engine.write("a", BEGAN + 1, " second");
    sleep(SECOND).await;
    assert!(agent.lines("a").is_empty(), "the record is not whole");
    // The same rule: the record goes on.
    agent
        .policies
        .replace(policy("{multiline: {rules: [{start: '^first'}], max_delay: 1h}}"));
    engine.write("a", BEGAN + 2, " third");
    sleep(SECOND).await;
    assert!(agent.lines("a").is_empty(), "the record is not whole");
    agent.policies.replace(policy("{}"));
    engine.write("a", BEGAN + 3, " fourth");
    sleep(SECOND).await;
    assert_eq!(agent.lines("a"), ["first\n second\n third", " fourth"]);
}
