//! What a store refuses for good is kept until somebody decides about it, and the commands for that.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::time::Duration;

use integration::agent::{self, Agent, Launch};
use integration::engine::Engine;
use integration::store::{Collector, Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

fn write(engine: &Engine, name: &str, lines: usize) {
    let script = format!("n=0; while [ $n -lt {lines} ]; do n=$((n+1)); echo $n; done; sleep 3600");
    engine.run_script(name, &[], &script);
}

/// Exit code and output of `log-capturer dead-letter ...`.
fn dead_letter(agent: &Agent, arguments: &[&str]) -> (Option<i32>, String) {
    let output = agent::command(&agent::binary())
        .arg("dead-letter")
        .args(arguments)
        .arg("--config")
        .arg(agent.home().join("config.yaml"))
        .output()
        .expect("run the command");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

fn count(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = agent.admin.metrics().expect("metrics");
    metrics.sum(name, labels).unwrap_or(0.0)
}

fn wait_settled(agent: &Agent, delivered: f64, dead: f64) {
    wait::until("every line to be delivered or dead", PATIENCE, || {
        let main = [("sink", "main")];
        let is_so = count(agent, "lines_delivered_total", &main) == delivered
            && count(agent, "dead_letters_total", &main) == dead;
        is_so.then_some(())
    });
    assert_eq!(count(agent, "lines_dropped_total", &[("sink", "main")]), 0.0);
    assert_eq!(count(agent, "delivery_drift", &[("sink", "main")]), 0.0);
}

fn socket(agent: &Agent) -> PathBuf {
    agent.home().join("state/control.sock")
}

#[test]
fn a_refused_line_outlives_the_agent_and_goes_when_the_store_has_acknowledged_it() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    loki.set(Fault::Refuse("700".to_owned()));
    write(&engine, "web", 1_000);
    let sink = format!("  - {{type: loki, name: main, url: \"{}\"}}\n", loki.url());
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink).start();
    agent.wait_ready();
    wait_settled(&agent, 999.0, 1.0);
    assert_eq!(count(&agent, "dead_letters_total", &[("reason", "too_new")]), 1.0);
    let metadata = fs::metadata(socket(&agent)).expect("the socket");
    assert!(metadata.file_type().is_socket() && metadata.mode() & 0o777 == 0o600);

    let (code, text) = dead_letter(&agent, &["list"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("main") && text.contains("too_new"), "{text}");
    let (code, text) = dead_letter(&agent, &["show"]);
    assert_eq!(code, Some(3), "{text}");
    let letter: serde_json::Value = serde_json::from_str(&text).expect("one object");
    assert_eq!(letter["record"]["line"], "700");
    assert_eq!(letter["record"]["container"]["name"], "web");
    assert!(
        letter["said"]
            .as_str()
            .is_some_and(|said| said.contains("timestamp too new"))
    );
    // It is still refused.
    let (code, text) = dead_letter(&agent, &["replay"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(3), "0 delivered, 1 refused again, 1 remain\n")
    );
    assert_eq!(dead_letter(&agent, &["list", "--sink", "file"]).0, Some(0));

    // What is not saved comes again after a kill. Positions are saved a second after they have changed.
    std::thread::sleep(Duration::from_secs(3));
    agent.kill();
    agent.start_again();
    agent.wait_ready();
    wait::until("the letter after a restart", PATIENCE, || {
        (count(&agent, "dead_letter_records", &[]) == 1.0).then_some(())
    });
    loki.set(Fault::None);
    let (code, text) = dead_letter(&agent, &["replay"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "1 delivered, 0 refused again, 0 remain\n")
    );
    let mut lines: Vec<usize> = loki
        .lines("web")
        .iter()
        .map(|line| line.parse().expect("a number"))
        .collect();
    lines.sort_unstable();
    assert_eq!(lines.iter().filter(|line| **line == 700).count(), 1);
    // What was acknowledged after the last checkpoint before the kill is sent again, and Loki drops exact repeats.
    lines.dedup();
    assert_eq!(lines, (1..=1_000).collect::<Vec<_>>());
    assert_eq!(
        dead_letter(&agent, &["list"]),
        (Some(0), "there are no dead letters\n".to_owned())
    );
    assert_eq!(count(&agent, "dead_letter_records", &[]), 0.0);
    assert_eq!(count(&agent, "delivery_drift", &[]), 0.0);
    agent.stop();
    assert!(!socket(&agent).exists());
    let (code, text) = dead_letter(&agent, &["list"]);
    assert!(code == Some(1) && text.contains("is it running?"), "{text}");
}

#[test]
fn what_is_purged_is_gone_and_another_user_may_not_ask() {
    needs!(requirements::engine());
    let (engine, collector) = (Engine::start(), Collector::start());
    collector.set(Fault::Refuse("70".to_owned()));
    write(&engine, "web", 100);
    let sink = format!("  - {{type: otlp, name: main, url: \"{}\"}}\n", collector.url());
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink).start();
    agent.wait_ready();
    // The collector does not say which one it was.
    wait_settled(&agent, 99.0, 1.0);
    assert_eq!(count(&agent, "dead_letters_total", &[("reason", "refused")]), 1.0);
    let other = agent::command(std::path::Path::new("cat"))
        .arg(agent.home().join("state/dead-letters/main.0000000000000001"))
        .uid(65534)
        .gid(65534)
        .output()
        .expect("run cat");
    assert!(!other.status.success() && other.stdout.is_empty());
    assert_eq!(
        dead_letter(&agent, &["purge", "--sink", "file"]),
        (Some(0), "0 removed, 0 remain\n".to_owned())
    );
    assert_eq!(
        dead_letter(&agent, &["purge"]),
        (Some(0), "1 removed, 0 remain\n".to_owned())
    );
    assert_eq!(dead_letter(&agent, &["list"]).0, Some(0));
    agent.stop();
    assert_eq!(collector.count(), 99);
}
