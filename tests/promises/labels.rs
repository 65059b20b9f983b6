//! What a container's labels change: whether it is captured, what its records bear, how many lines it may bring.

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Seconds from the first line that the engine has of a container to the last.
fn written_within(engine: &Engine, container: &str) -> f64 {
    let output = engine
        .docker_command(&["logs", "--timestamps", container])
        .and_then(|mut command| Ok(command.output()?))
        .expect("docker logs");
    let lines = [output.stdout, output.stderr].concat();
    let times = String::from_utf8_lossy(&lines)
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default().parse::<Timestamp>())
        .collect::<Result<Vec<_>, _>>()
        .expect("a time before each line");
    let (first, last) = (times.iter().min(), times.iter().max());
    let written = last.expect("a line").duration_since(*first.expect("a line"));
    written.as_secs_f64()
}

#[test]
fn compose_projects_are_chosen_and_told_and_a_rate_limit_counts_what_it_drops() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_EXCLUDE", "[{project: 'sec*'}]")
        .environment("LOG_CAPTURER_CAPTURE_LABELS", "[tier]")
        .environment("LOG_CAPTURER_CAPTURE_FIELDS", "[compose, swarm]")
        .start();
    agent.wait_ready();
    let project = |name| format!("--label=com.docker.compose.project={name}");
    let hidden = Writer::new("hidden", Kind::Short, 20);
    hidden.start_with(&engine, &[&project("secret")]);
    let web = Writer::new("web", Kind::Short, 20);
    web.start_with(
        &engine,
        &[
            &project("shop"),
            "--label=com.docker.compose.service=web",
            "--label=tier=front",
        ],
    );
    let limited = Writer::new("limited", Kind::Mixed, 1_000).pace(1_000, 0.0);
    limited.start_with(&engine, &["--label=log-capturer.rate-limit=50"]);
    let read = |agent: &integration::agent::Agent| {
        wait::until("all lines to be read", PATIENCE, || {
            let metrics = agent.admin.metrics().ok()?;
            let lines = metrics.sum("lines_read_total", &[("container", "limited")])?;
            (lines >= 1_000.0 && metrics.sum("lines_read_total", &[("container", "web")])? >= 20.0).then_some(metrics)
        })
    };
    let metrics = read(&agent);
    let dropped = metrics.sum("lines_dropped_total", &[("reason", "rate_limited")]);
    assert_eq!(
        metrics.sum("lines_rate_limited_total", &[("container", "limited")]),
        dropped
    );
    agent.stop();
    // What was dropped is behind the position, too.
    agent.start_again();
    agent.wait_ready();
    let after = Writer::new("after", Kind::Short, 5);
    after.start(&engine);
    wait::until("the last container's lines", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        (metrics.sum("lines_read_total", &[("container", "after")])? >= 5.0).then_some(())
    });
    agent.stop();

    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&web.expected_of_both());
    captured.assert_exact(&after.expected_of_both());
    assert_eq!(captured.containers(), ["after", "limited", "web"]);
    let mut passed = 0;
    for stream in ["stdout", "stderr"] {
        let account = captured.account("limited", stream, &limited.expected(stream));
        assert!(
            account.doubled.is_empty() && account.unexpected.is_empty() && account.out_of_order == 0,
            "{}",
            account.complaint()
        );
        passed += account.expected - account.missing.len();
    }
    assert_eq!(1_000.0 - passed as f64, dropped.expect("lines_dropped_total"));
    // The burst of five seconds, and what may come while the lines are written: by the engine's own clock.
    let most = 250 + (50.0 * written_within(&engine, "limited")).ceil() as usize;
    assert!((250..=most).contains(&passed), "{passed} lines passed, {most} may");

    let records = std::fs::read_to_string(agent.output()).expect("the sink");
    let of_web = records
        .lines()
        .map(|json| serde_json::from_str::<Value>(json).expect("a record"));
    for record in of_web.filter(|record| record["container"]["name"] == "web") {
        assert_eq!(record["container"]["labels"], json!({"tier": "front"}));
        assert_eq!(
            record["container"]["compose"],
            json!({"project": "shop", "service": "web"})
        );
        assert_eq!(record["container"].get("swarm"), None);
    }
}

#[test]
fn labels_decide_no_more_than_the_configuration_lets_them() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_CONTAINER_LABELS_EXCLUDE", "off")
        .environment("LOG_CAPTURER_CAPTURE_RATE_LIMIT_LINES_PER_SECOND", "50")
        .environment("LOG_CAPTURER_CAPTURE_RATE_LIMIT_BURST", "1s")
        .start();
    agent.wait_ready();
    let hidden = Writer::new("hidden", Kind::Short, 20);
    hidden.start_with(&engine, &["--label=log-capturer.exclude=true"]);
    let unclear = Writer::new("unclear", Kind::Short, 20);
    unclear.start_with(&engine, &["--label=log-capturer.exclude=perhaps"]);
    let flood = |name| Writer::new(name, Kind::Short, 1_000).pace(1_000, 0.0);
    flood("lifted").start_with(&engine, &["--label=log-capturer.rate-limit=off"]);
    flood("lowered").start_with(&engine, &["--label=log-capturer.rate-limit=10"]);
    let dropped = wait::until("all lines to be read", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let of = |metric, name| metrics.sum(metric, &[("container", name)]);
        let all = [
            ("hidden", 20.0),
            ("unclear", 20.0),
            ("lifted", 1_000.0),
            ("lowered", 1_000.0),
        ];
        for (name, lines) in all {
            if of("lines_read_total", name)? < lines {
                return None;
            }
        }
        Some(["lifted", "lowered"].map(|name| of("lines_rate_limited_total", name)))
    });
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&hidden.expected_of_both());
    captured.assert_exact(&unclear.expected_of_both());
    let [lifted, lowered] = dropped.map(|dropped| 1_000.0 - dropped.expect("lines_rate_limited_total"));
    // The burst of one second, and what may come while the lines are written.
    for (name, passed, rate) in [("lifted", lifted, 50.0), ("lowered", lowered, 10.0)] {
        let most = rate + (rate * written_within(&engine, name)).ceil();
        assert!(
            (rate..=most).contains(&passed),
            "{name}: {passed} lines passed, {most} may"
        );
    }
    let stderr = agent.stderr();
    for (container, reason) in [
        ("hidden", "capture.container_labels.exclude is off"),
        ("unclear", "must be true or false"),
        ("lifted", "capture.container_labels.rate_limit is lower"),
    ] {
        let told = |line: &&str| line.contains(&format!("\"{container}\"")) && line.contains(reason);
        let told = stderr.lines().filter(told).count();
        assert_eq!(told, 1, "times told of {container}'s label:\n{stderr}");
    }
}
