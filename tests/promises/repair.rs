//! What the ledger has missed, or has no room for, is said, and its totals stay right or are put right.

use integration::agent::{Agent, Launch};
use integration::faults::{BadEngine, Logs};
use integration::ledger;
use integration::shim::Shim;
use integration::wait::PATIENCE;
use integration::{needs, requirements, wait};

const DRIFT: i32 = 3;

fn launch(engine: &BadEngine, shim: &Shim, scan_interval: &str) -> Agent {
    let agent = shim
        .preload(Launch::on(engine.peer.path()).kernel("required"))
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", scan_interval)
        .environment("LOG_CAPTURER_KERNEL_LEAKS_ORPHAN_AFTER", "10m")
        .environment("LOG_CAPTURER_KERNEL_MAX_CONNECTIONS", "64")
        .environment("LOG_CAPTURER_DOCKER_RETRY_INITIAL_DELAY", "1s")
        .start();
    agent.wait_ready();
    agent
}

fn metric(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    agent.admin.metrics().expect("/metrics").sum(name, labels)
}

fn is_conserved(agent: &Agent) -> Option<()> {
    agent.admin.fds().ok()?.conserved?.then_some(())
}

#[test]
fn a_lost_event_is_spelled_out_by_fds_and_repaired_by_the_next_scrape() {
    needs!(requirements::kernel(), requirements::program("gcc"));
    let engine = BadEngine::start(Logs::Nothing);
    let shim = Shim::build();
    // No scan comes first.
    let mut agent = launch(&engine, &shim, "1h");
    wait::until("a quiet moment", PATIENCE, || is_conserved(&agent));
    assert_eq!(metric(&agent, "kernel_repairs_total", &[]), Some(0.0));
    shim.lose();
    for _ in 0..2 {
        let output = wait::until("the drift to be seen", PATIENCE, || {
            let output = agent.ask(&["fds"]);
            (output.status.code() == Some(DRIFT)).then_some(output)
        });
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("NOT conserved: eventfd "), "{said}");
    }
    let repaired = metric(&agent, "kernel_repairs_total", &[("cause", "close_missed")]);
    assert_eq!(repaired, Some(1.0), "by the walk of this very scrape");
    wait::until("the account to be right again", PATIENCE, || is_conserved(&agent));
    assert_eq!(metric(&agent, "kernel_repairs_total", &[]), Some(1.0));
    agent.stop();
}

#[test]
fn a_scan_repairs_what_was_lost_and_tells_it_once() {
    needs!(requirements::kernel(), requirements::program("gcc"));
    let engine = BadEngine::start(Logs::Nothing);
    let shim = Shim::build();
    let mut agent = launch(&engine, &shim, "1s");
    wait::until("a quiet moment", PATIENCE, || is_conserved(&agent));
    shim.lose();
    agent.wait_said("repaired from the process's table", PATIENCE);
    let stderr = agent.stderr();
    let line = stderr
        .lines()
        .find(|line| line.contains("repaired from"))
        .expect("just seen");
    assert!(line.contains("close_missed: 1"), "{line}");
    wait::until("the account to be right again", PATIENCE, || is_conserved(&agent));
    wait::until("the drift to be 0", PATIENCE, || {
        let drift = |witness| metric(&agent, "kernel_drift", &[("witness", witness)]);
        ((drift("iterator"), drift("proc")) == (Some(0.0), Some(0.0))).then_some(())
    });
    assert_eq!(metric(&agent, "kernel_repairs_total", &[]), Some(1.0));
    // This kernel skips nothing, or it would be told.
    assert!(metric(&agent, "kernel_missed_events_total", &[]).is_some());
    agent.stop();
    assert_eq!(agent.stderr().matches("repaired from").count(), 1, "{}", agent.stderr());
}

#[test]
fn a_full_map_is_told_in_readyz_and_counted_and_the_totals_stay_right() {
    needs!(requirements::kernel(), requirements::program("gcc"));
    let engine = BadEngine::start(Logs::Nothing);
    let shim = Shim::build();
    let mut agent = launch(&engine, &shim, "1s");
    shim.crowd(engine.peer.path());
    let ready = wait::until("/readyz to tell it", PATIENCE, || {
        let ready = agent.admin.get("/readyz").ok()?;
        (ready.status == 503).then_some(ready.body)
    });
    assert!(ready.contains("the map of connections is full (64 of 64)"), "{ready}");
    let of = [("map", "connections")];
    assert_eq!(metric(&agent, "kernel_map_entries", &of), Some(64.0));
    assert_eq!(metric(&agent, "kernel_map_capacity", &of), Some(64.0));
    assert!(metric(&agent, "kernel_map_failures_total", &of) >= Some(36.0));
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(ledger::conserved(&metrics), Ok(1));
    // Descriptors are another matter: each of the hundred is in their account.
    wait::until("a quiet moment", PATIENCE, || is_conserved(&agent));
    let unix = metric(&agent, "kernel_fds", &[("kind", "unix")]);
    assert!(unix >= Some(100.0), "{unix:?}");

    shim.disperse();
    agent.wait_ready();
    wait::until("the crowd to be gone from the account", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        assert_eq!(ledger::conserved(&metrics), Ok(1));
        (metrics.sum("kernel_connections", &[]) < Some(10.0)).then_some(())
    });
    agent.stop();
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}
