//! What a line becomes.

use std::time::Duration;

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::{Captured, Record};
use integration::{needs, requirements};

#[test]
fn a_record_says_where_and_when_its_line_was_written() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("off").start();
    agent.wait_ready();
    let id = engine.run_script(
        "web",
        &["--label", "tier=front"],
        r#"echo; echo '"quoted" \ ü'; printf '\377\376\n'; printf '\001 tab\there\n'; echo err >&2; sleep 2"#,
    );
    agent.wait_records(5, Duration::from_secs(20));
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
