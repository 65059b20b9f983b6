//! Stores by TLS, and what is secret about them.

use std::fs;
use std::path::Path;

use integration::agent::{self, Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::store::{Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

use crate::certificates::{Certificates, Validity};

const LINES: usize = 2_000;

fn write(engine: &Engine) {
    let script = format!("n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo $n; done; sleep 3600");
    engine.run_script("web", &[], &script);
}

fn sink(url: &str, more: &str) -> String {
    format!("  - {{type: loki, name: main, url: \"{url}\"{more}}}\n")
}

fn trusting(folder: &Path) -> String {
    format!(", tls: {{ca: \"{}\"}}", folder.join("ca.pem").display())
}

fn wait_all(loki: &Loki) {
    wait::until("every line in the store", PATIENCE, || {
        (loki.entries().len() >= LINES).then_some(())
    });
    let expected: Vec<_> = (1..=LINES).map(|number| number.to_string()).collect();
    assert_eq!(loki.lines("web"), expected);
    assert_eq!(loki.complaints(), Vec::<String>::new());
}

/// Waits until the agent says why the sink delivers nothing, and sees that nothing is lost by that.
fn wait_failing(agent: &Agent, why: &str) {
    agent.wait_said(why, PATIENCE);
    // It may say there that the breaker is open, for the reason in the log.
    let answer = agent.admin.get("/readyz").expect("/readyz");
    assert_eq!(answer.status, 503, "{}", answer.body);
    let metrics = agent.admin.metrics().expect("metrics");
    let main = [("sink", "main")];
    assert_eq!(metrics.sum("lines_delivered_total", &main).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("lines_dropped_total", &main).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("dead_letters_total", &main).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("delivery_drift", &main), Some(0.0));
}

/// Ends the agent, mends its sink, and starts it again.
fn mend(agent: &mut Agent, wrong: &str, right: &str) {
    agent.signal(Signal::TERM);
    // What was read and could not be delivered is in the sink's spool.
    assert_eq!(agent.wait_exit(STOP).code(), Some(0));
    let path = agent.home().join("config.yaml");
    let config = fs::read_to_string(&path).expect("the configuration");
    assert!(config.contains(wrong));
    fs::write(&path, config.replace(wrong, right)).expect("write the configuration");
    agent.start_again();
}

#[test]
fn a_store_with_a_ca_of_its_own_gets_every_line_and_no_secret_is_shown() {
    needs!(requirements::engine());
    let certificates = Certificates::new();
    let folder = certificates.server(Validity::Good);
    let (engine, loki) = (Engine::start(), Loki::start_with_tls(&folder));
    loki.set(Fault::Only("Bearer s3cond".to_owned()));
    write(&engine);
    let token = tempfile::NamedTempFile::new().expect("a file");
    fs::write(token.path(), "f1rst").expect("write the token");
    let auth = format!(", auth: {{bearer_file: \"{}\"}}", token.path().display());
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&loki.url(), &(trusting(&folder) + &auth)))
        .start();
    wait_failing(&agent, "held (unauthorized)");
    fs::write(token.path(), "s3cond").expect("write the token");
    wait_all(&loki);
    agent.wait_ready();
    let config = agent::command(&agent::binary())
        .args(["config", "--config"])
        .arg(agent.home().join("config.yaml"))
        .output()
        .expect("run the command");
    assert!(config.status.success());
    let page = |path: &str| agent.admin.get(path).expect("a page").body;
    let shown = [
        String::from_utf8(config.stdout).expect("text"),
        page("/metrics"),
        page("/readyz"),
        page("/connections"),
    ];
    agent.stop();
    for text in shown.iter().chain([&agent.stderr()]) {
        assert!(!text.contains("f1rst") && !text.contains("s3cond"), "{text}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_or_no_longer_valid_costs_no_line() {
    needs!(requirements::engine());
    let certificates = Certificates::new();
    let good = certificates.server(Validity::Good);
    let (engine, loki) = (Engine::start(), Loki::start_with_tls(&good));
    write(&engine);
    // Nothing says whose certificate it may be: only the system's CAs are trusted.
    let wrong = sink(&loki.url(), "");
    let mut agent = Launch::on(engine.socket()).more_sinks(&wrong).start();
    wait_failing(&agent, "certificate");
    assert_eq!(loki.requests(), 0);
    mend(&mut agent, &wrong, &sink(&loki.url(), &trusting(&good)));
    wait_all(&loki);
    agent.stop();

    let (engine, expired) = (Engine::start(), certificates.server(Validity::Expired));
    let loki = Loki::start_with_tls(&expired);
    write(&engine);
    let agent = Launch::on(engine.socket())
        .more_sinks(&sink(&loki.url(), &trusting(&expired)))
        .start();
    wait_failing(&agent, "certificate");
    assert_eq!(loki.requests(), 0);
}

#[test]
fn a_name_that_does_not_resolve_costs_no_line() {
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine);
    // RFC 6761: no name below it ever resolves.
    let wrong = "http://store.invalid:3100";
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(wrong, "")).start();
    wait_failing(&agent, "cannot find the host's address");
    mend(&mut agent, wrong, &loki.url());
    wait_all(&loki);
    agent.stop();
}

#[test]
fn what_could_not_be_delivered_and_has_no_spool_makes_the_stop_a_failure() {
    needs!(requirements::engine());
    let engine = Engine::start();
    write(&engine);
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink("http://store.invalid:3100", ""))
        .environment("LOG_CAPTURER_STATE_DIR", "")
        .start();
    agent.wait_said("cannot find the host's address", PATIENCE);
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_exit(STOP).code(), Some(1));
}
