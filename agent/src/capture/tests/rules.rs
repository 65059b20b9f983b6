//! What rules see of a container, whoever tells of it, and whatever happens to it.

use super::*;

#[tokio::test(start_paused = true)]
async fn started_containers_are_captured_while_the_list_fails() {
    let engine = Engine::start();
    engine.has_no_list(true);
    let agent = Agent::start(&engine, "{}");
    sleep(SECOND).await;
    engine.run("a");
    engine.write("a", BEGAN, "line 0");
    agent.settle("a", 1).await;
    assert_eq!(agent.lines("a"), lines(0..1));
    // Minutes of a list that fails.
    for number in 1..300 {
        engine.write("a", BEGAN + number, &format!("line {number}"));
        sleep(SECOND).await;
    }
    agent.settle("a", 300).await;
    assert_eq!(agent.lines("a"), lines(0..300));
    assert_eq!(engine.subscriptions(), 1, "the event stream was reopened");
    assert_eq!(agent.gaps("a"), 0);
    engine.has_no_list(false);
    sleep(60 * SECOND).await;
    engine.write("a", BEGAN + 300, "line 300");
    agent.settle("a", 301).await;
    assert_eq!(agent.lines("a"), lines(0..301));
}

#[tokio::test(start_paused = true)]
async fn a_label_that_is_called_name_is_seen_by_rules_and_borne_by_records() {
    for (rule, captured) in [("include", 60), ("exclude", 0)] {
        let engine = Engine::start();
        let agent = Agent::start(&engine, &format!("{{{rule}: [{{label: name=shop}}]}}"));
        sleep(SECOND).await;
        engine.run_with("a", &[("name", "shop"), ("image", "big"), ("tier", "front")]);
        for number in 0..60 {
            engine.write("a", BEGAN + number, &format!("line {number}"));
            sleep(2 * SECOND).await;
        }
        assert_eq!(agent.lines("a").len(), captured, "{rule}");
        let described = agent.described("a");
        assert_eq!(described.len(), usize::from(captured > 0), "{described:?}");
        for container in described {
            assert_eq!(container["image"], "image");
            let labels = serde_json::json!({"name": "shop", "image": "big", "tier": "front"});
            assert_eq!(container["labels"], labels);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_whose_tag_has_moved_keeps_its_name() {
    for (rule, captured) in [("include", true), ("exclude", false)] {
        let engine = Engine::start();
        engine.run("a");
        let capture = format!("{{{rule}: [{{image: ima*}}]}}");
        let agent = Agent::start(&engine, &capture);
        sleep(SECOND).await;
        engine.write("a", BEGAN, "line 0");
        engine.retag("a");
        // The list is asked for meanwhile.
        sleep(130 * SECOND).await;
        engine.write("a", BEGAN + 1, "line 1");
        sleep(SECOND).await;
        assert_eq!(agent.lines("a"), lines(0..if captured { 2 } else { 0 }), "{rule}");
        // Another agent finds it so.
        let positions = agent.stop().await;
        let agent = Agent::start_with(&engine, &capture, 50, positions);
        sleep(SECOND).await;
        engine.write("a", BEGAN + 2, "line 2");
        sleep(SECOND).await;
        let expected: &[&str] = if captured { &["line 2"] } else { &[] };
        assert_eq!(agent.lines("a"), expected, "{rule}");
        assert!(
            agent
                .described("a")
                .iter()
                .all(|container| container["image"] == "image")
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_is_renamed_is_judged_by_its_new_name() {
    let engine = Engine::start();
    for name in ["plain", "shy"] {
        engine.run(name);
    }
    let agent = Agent::start(&engine, "{include: [{name: 'web-*'}, {name: plain}]}");
    sleep(SECOND).await;
    for name in ["plain", "shy"] {
        engine.write(name, BEGAN, "line 0");
    }
    sleep(SECOND).await;
    assert_eq!((agent.lines("plain").len(), agent.lines("shy").len()), (1, 0));

    engine.rename("shy", "web-1");
    engine.rename("plain", "secret");
    sleep(5 * SECOND).await;
    for name in ["plain", "shy"] {
        engine.write(name, BEGAN + 1, "line 1");
    }
    sleep(5 * SECOND).await;
    assert_eq!(agent.lines("web-1"), lines(0..2), "it is included now");
    assert_eq!(engine.follows("plain"), 0, "it is not included any more");
    assert_eq!((agent.lines("secret").len(), agent.lines("plain").len()), (0, 1));

    // Where it was left off, it goes on.
    engine.rename("plain", "web-2");
    sleep(5 * SECOND).await;
    assert_eq!(agent.lines("web-2"), ["line 1"]);
    assert_eq!(agent.gaps("web-2"), 0);
}

/// A record as a sink has it: its keys have an order.
fn as_written(record: &Value) -> String {
    let keys = ["ts", "stream", "line", "container", "host"];
    let pairs = keys.map(|key| format!("\"{key}\":{}", record[key]));
    format!("{{{}}}", pairs.join(","))
}

#[tokio::test(start_paused = true)]
async fn a_container_that_writes_out_what_is_captured_of_it_ends_no_disk() {
    let engine = Engine::start();
    engine.run("a");
    let agent = Agent::start(&engine, "{}");
    sleep(SECOND).await;
    engine.write("a", BEGAN, "hello");
    let mut written = 0;
    for number in 1..=50 {
        sleep(SECOND).await;
        let records = agent.records.lock().unwrap_or_else(PoisonError::into_inner)[written..].to_vec();
        for record in records {
            written += 1;
            engine.write("a", BEGAN + number * 1_000 + written as i64, &as_written(&record));
        }
    }
    assert!((2..=5).contains(&written), "{written}");
    assert!(agent.metrics.looped.get() >= 1);
    // What is no such record is captured as ever.
    engine.write("a", BEGAN + 1_000_000, "goodbye");
    sleep(2 * SECOND).await;
    assert_eq!(agent.lines("a").last().map(String::as_str), Some("goodbye"));
}
