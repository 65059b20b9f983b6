//! What a line becomes.

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::{Captured, Record};
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

#[test]
fn a_record_says_where_and_when_its_line_was_written() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("off").start();
    agent.wait_ready();
    let id = engine.run_script(
        "web",
        // The driver `json-file` would have made the bytes that are no text U+FFFD.
        &["--label", "tier=front", "--log-driver", "local"],
        r#"echo; echo '"quoted" \ ü'; printf '\377\376\n'; printf '\001 tab\there\n'; echo err >&2; sleep 2"#,
    );
    agent.wait_records(5, PATIENCE);
    agent.stop();

    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let lines: [&[u8]; 4] = [b"", "\"quoted\" \\ ü".as_bytes(), b"\xff\xfe", b"\x01 tab\there"];
    assert_eq!(captured.lines("web", "stdout"), lines);
    assert_eq!(captured.lines("web", "stderr"), [b"err"]);

    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the host's name");
    let logged = engine.docker(&["logs", "--timestamps", "web"]).expect("docker logs");
    for json in std::fs::read(agent.output())
        .expect("the sink")
        .split_inclusive(|&byte| byte == b'\n')
    {
        let record = Record::parse(json).expect("a record of the contract");
        assert_eq!(record.container.id, id);
        assert_eq!(record.container.name, "web");
        assert_eq!(record.container.image, private_engine::IMAGE);
        assert_eq!(record.container.labels["tier"], "front");
        assert_eq!(record.host, hostname.trim());
        assert!(!record.truncated);
        if record.stream == "stdout" {
            assert!(
                logged.contains(&record.ts),
                "{} is not the engine's time:\n{logged}",
                record.ts
            );
        }
    }
}

/// The engine often ends a follower's stream without it, although it has it.
#[test]
fn a_last_line_without_a_newline_is_captured() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("off").start();
    agent.wait_ready();
    let writers: Vec<_> = (1..=10)
        .map(|number| Writer::new(format!("unterminated-{number}"), Kind::Unterminated, 15).pace(5, 0.2))
        .collect();
    for writer in &writers {
        writer.start(&engine);
    }
    for writer in &writers {
        engine.wait(&writer.name);
    }
    agent.settle(writers.iter().map(|writer| writer.lines).sum(), PATIENCE / 4);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let complaints: Vec<_> = writers
        .iter()
        .map(|writer| {
            captured
                .account(&writer.name, "stdout", &writer.expected("stdout"))
                .complaint()
        })
        .filter(|complaint| !complaint.is_empty())
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
