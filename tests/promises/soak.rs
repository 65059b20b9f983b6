//! Under constant churn of containers and faults nothing grows and no line is missing.
//!
//! `cargo xtask soak --minutes N` is the long form, which also judges the slopes, and prints them: see docs/evidence/soak.md.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use integration::agent::Launch;
use integration::engine::Engine;
use integration::proxy::Proxy;
use integration::seed::seed;
use integration::size::size;
use integration::soak::{self, Plan};
use integration::{needs, requirements};

const SHORT: u32 = 30;

#[test]
fn under_churn_and_faults_nothing_grows_and_no_line_is_missing() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let seconds = size("SOAK_SECONDS", SHORT);
    let report = std::env::var_os("LOG_CAPTURER_SOAK_REPORT").map(PathBuf::from);
    let file = |name: &str| report.as_ref().map(|dir| dir.join(name));
    if let Some(dir) = &report {
        fs::create_dir_all(dir).expect("a directory for the report");
    }
    let seed = seed();
    let engine = Engine::start_with(&["--live-restore"]);
    let proxy = Proxy::random(engine.socket(), seed);
    let mut agent = Launch::on(proxy.path())
        .rotation("2s")
        .kernel("required")
        .environment("LOG_CAPTURER_CAPTURE_ROTATION_IDLE_INTERVAL", "2s")
        .environment("LOG_CAPTURER_DOCKER_RETRY_MAX_DELAY", "1s")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", "1s")
        .start();
    agent.wait_ready();
    let csv = file("soak.csv");
    let plan = Plan {
        length: Duration::from_secs(seconds.into()),
        cycle: Duration::from_secs(seconds.min(60).into()),
        seed,
        csv: csv.as_deref(),
    };
    let report = soak::soak(&plan, &engine, &proxy, &mut agent);
    if let Some(path) = file("agent.log") {
        fs::write(path, agent.stderr()).expect("write what the agent said");
    }
    let text = report.text();
    // Past the test runner, which keeps what a test prints.
    writeln!(std::io::stdout(), "{text}").expect("standard output");
    if let Some(path) = file("soak.md") {
        fs::write(path, &text).expect("write the table");
    }
    if let Some(path) = file("soak.svg") {
        report.plot(&path);
    }
    let failures = report.failures();
    assert!(
        failures.is_empty(),
        "LOG_CAPTURER_SEED={seed}:\n{}",
        failures.join("\n")
    );
}
