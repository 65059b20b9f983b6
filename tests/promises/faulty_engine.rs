//! A real engine with faults, and faulty peers: how soon it is noticed, how soon all is well again, what the engine
//! is asked meanwhile, what that costs, and that nothing is left over.
//!
//! `cargo xtask bench faulty-engine` runs the long form, with the default settings, and prints the table of docs/evidence/faulty-engine.md.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch};
use integration::control::{BUSY, Control, Effort, Watched};
use integration::engine::Engine;
use integration::gate::{Gate, Manner};
use integration::ledger::{self, Comparison};
use integration::size::size;
use integration::wait::PATIENCE;
use integration::{needs, requirements, wait, witness};

const LOOK: Duration = Duration::from_millis(20);
const SHORT: u32 = 3;

const WRITES: &str = "n=0; while :; do n=$((n+1)); echo \"$n\"; usleep 50000; done";

/// How long the engine is faulty.
fn pain() -> Duration {
    Duration::from_secs(size("FAULT_SECONDS", SHORT).into())
}

fn launch(socket: &Path) -> Agent {
    let mut launch = Launch::on(socket).rotation("2s").kernel("required");
    if size("FAULT_SECONDS", SHORT) == SHORT {
        // So that what takes a minute by default can be seen in seconds.
        for (name, value) in [
            ("LOG_CAPTURER_DOCKER_API_HEAD_TIMEOUT", "1s"),
            ("LOG_CAPTURER_DOCKER_HEALTH_INTERVAL", "500ms"),
            ("LOG_CAPTURER_DOCKER_HEALTH_TIMEOUT", "300ms"),
            ("LOG_CAPTURER_DOCKER_CIRCUIT_BREAKER_OPEN_TIME", "500ms"),
        ] {
            launch = launch.environment(name, value);
        }
    }
    let agent = launch.start();
    agent.wait_ready();
    agent
}

struct Row {
    fault: &'static str,
    /// Until the first error is counted, or the agent is not ready any more.
    noticed: Option<Duration>,
    recovered: Duration,
    /// Also those that did not come through.
    requests: f64,
    effort: Effort,
    /// How long the engine was faulty.
    pain: Duration,
}

fn sum(agent: &Agent, name: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = agent.admin.metrics().expect("/metrics");
    metrics.sum(name, labels).unwrap_or(0.0)
}

fn errors(agent: &Agent) -> f64 {
    let names = [
        "docker_http_errors_total",
        "docker_connection_errors_total",
        "docker_health_check_failures_total",
    ];
    names.iter().map(|name| sum(agent, name, &[])).sum()
}

/// What was sent, as the agent counts it: where no gate counts.
fn sent(agent: &Agent) -> f64 {
    let refused: f64 = ["breaker_open", "rate_limit", "pool_full"]
        .iter()
        .map(|reason| sum(agent, "docker_http_errors_total", &[("reason", reason)]))
        .sum();
    let answered = sum(agent, "docker_http_requests_total", &[]);
    let failed = sum(agent, "docker_http_errors_total", &[]) - refused;
    let pings = sum(agent, "docker_health_check_duration_seconds_count", &[]);
    answered + failed.max(sum(agent, "docker_connection_errors_total", &[])) + pings
}

fn is_well(agent: &Agent) -> bool {
    agent.admin.get("/readyz").is_ok_and(|answer| answer.status == 200)
        && sum(agent, "docker_circuit_breaker_state", &[("state", "closed")]) == 1.0
}

/// Makes a fault for a while, mends it, and looks at everything.
fn suffer(
    agent: &Agent,
    socket: &Path,
    fault: &'static str,
    begin: impl FnOnce(),
    end: impl FnOnce(),
    requests: impl Fn() -> f64,
) -> Row {
    wait::until("all to be well", PATIENCE, || is_well(agent).then_some(()));
    let descriptors = witness::descriptors(agent.pid()).len();
    let (asked, failed) = (requests(), errors(agent));
    let watched = Watched::from_now(agent.pid());
    let began = Instant::now();
    begin();
    let mut noticed = None;
    // On a busy machine it takes longer until a time has run out and somebody notices.
    while began.elapsed() < pain() || (noticed.is_none() && began.elapsed() < watched.prices().stretched(pain())) {
        if noticed.is_none() && (errors(agent) > failed || !is_well(agent)) {
            noticed = Some(began.elapsed());
        }
        // The looking itself costs the agent, so it ends when there is nothing more to see.
        sleep(if noticed.is_some() {
            pain().saturating_sub(began.elapsed())
        } else {
            LOOK
        });
    }
    let (effort, pain) = (watched.effort(), began.elapsed());
    let requests = requests() - asked;
    end();
    let healed = Instant::now();
    let records = agent.records();
    wait::until(&format!("recovery after: {fault}"), 2 * PATIENCE, || {
        (is_well(agent) && agent.records() > records).then_some(())
    });
    let recovered = healed.elapsed();
    assert_nothing_left(agent, socket, fault, descriptors);
    Row {
        fault,
        noticed,
        recovered,
        requests,
        effort,
        pain,
    }
}

fn assert_nothing_left(agent: &Agent, socket: &Path, fault: &str, descriptors: usize) {
    wait::until(&format!("the ledger and ss to agree after: {fault}"), PATIENCE, || {
        matches!(ledger::compare(agent, socket), Comparison::Agrees { .. }).then_some(())
    });
    // A rotation holds one more, and the pool keeps up to two idle.
    wait::until(&format!("descriptors as before: {fault}"), PATIENCE, || {
        (witness::descriptors(agent.pid()).len() <= descriptors + 3).then_some(())
    });
    assert_eq!(ledger::conserved(&agent.admin.metrics().expect("/metrics")).err(), None);
    // The pool's belief, the register and the kernel: one number.
    wait::until(&format!("pool and kernel to agree after: {fault}"), PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let believed = metrics.sum("docker_pool_connections", &[])?;
        let held = metrics.sum("kernel_connections", &[("peer", socket.to_str()?)])?;
        (believed == held).then_some(())
    });
    assert!(agent.ask(&["leaks"]).status.success(), "leaks after: {fault}");
}

fn assert_kind(row: &Row) {
    let Row { fault, requests, .. } = row;
    assert!(row.noticed.is_some(), "{fault}: not noticed in {:?}", row.pain);
    let seconds = row.pain.as_secs_f64();
    // Five to open the breaker, then at most three attempts a time that it is open, and the pings.
    let opens = if pain() > Duration::from_secs(SHORT.into()) {
        2.0
    } else {
        0.5
    };
    let most = 60.0 + 4.0 * seconds / opens;
    assert!(*requests <= most, "{fault}: {requests} requests in {seconds} s");
    row.effort.assert_below(2.0 * BUSY, fault);
}

fn print(rows: &[Row]) {
    let mut table = String::from(
        "| fault | noticed after | well again after | requests meanwhile | CPU |\n|---|---|---|---|---|\n",
    );
    for row in rows {
        let noticed = row
            .noticed
            .map_or("not".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()));
        writeln!(
            table,
            "| {} | {noticed} | {:.1} s | {} | {:.1} % |",
            row.fault,
            row.recovered.as_secs_f64(),
            row.requests,
            row.effort.share * 100.0
        )
        .expect("a string");
    }
    // Past the test runner, which keeps what a test prints.
    std::io::stdout().write_all(table.as_bytes()).expect("standard output");
}

#[test]
fn a_real_engine_that_is_faulty_is_noticed_and_found_again() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start_with(&["--live-restore"]);
    let mut agent = launch(engine.socket());
    engine.run_script("writes", &[], WRITES);
    agent.wait_records(10, PATIENCE);
    let socket = engine.socket();
    let away = socket.with_extension("away");
    let requests = || sent(&agent);
    let rows = [
        suffer(
            &agent,
            socket,
            "killed, started again",
            || engine.kill9().expect("kill"),
            || engine.restart().expect("start"),
            requests,
        ),
        suffer(
            &agent,
            socket,
            "stands still (SIGSTOP)",
            || engine.stop_signal().expect("stop"),
            || engine.cont().expect("continue"),
            requests,
        ),
        suffer(
            &agent,
            socket,
            "its socket's file removed",
            || std::fs::rename(socket, &away).expect("rename"),
            || std::fs::rename(&away, socket).expect("rename"),
            requests,
        ),
    ];
    print(&rows);
    rows.iter().for_each(assert_kind);
    agent.stop();
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}

#[test]
fn a_faulty_peer_is_noticed_and_the_engine_found_again() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let gate = Gate::before(engine.socket());
    let mut agent = launch(gate.path());
    engine.run_script("writes", &[], WRITES);
    agent.wait_records(10, PATIENCE);
    let faults = [
        ("accepts and says nothing", Manner::SaysNothing),
        ("closes at once", Manner::ClosesAtOnce),
        ("answers 500", Manner::Fails),
        ("sends heads byte by byte", Manner::Dribbles),
        ("endless headers", Manner::EndlessHeaders),
        ("redirects", Manner::Redirects),
    ];
    let rows = faults.map(|(fault, manner)| {
        suffer(
            &agent,
            gate.path(),
            fault,
            || gate.set(manner),
            || gate.set(Manner::LetsThrough),
            || gate.requests() as f64,
        )
    });
    print(&rows);
    rows.iter().for_each(assert_kind);
    agent.stop();
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}

/// An engine that has only just come back is not overrun by all who were cut off.
#[test]
fn streams_that_come_back_together_do_not_fall_on_the_engine() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    const BURST: usize = 5;
    let crowd = size("CROWD", 20) as usize;
    // The default would let these few through at once.
    let rate = if crowd >= 200 { 100 } else { 10 };
    let engine = Engine::start_with(&["--live-restore"]);
    let gate = Gate::before(engine.socket());
    let mut agent = Launch::on(gate.path())
        .kernel("required")
        .environment("LOG_CAPTURER_DOCKER_RATE_LIMIT_REQUESTS_PER_SECOND", rate.to_string())
        .environment("LOG_CAPTURER_DOCKER_RATE_LIMIT_BURST", BURST.to_string())
        .environment("LOG_CAPTURER_CAPTURE_STREAMS_MAX_CONCURRENT", crowd.to_string())
        .start();
    agent.wait_ready();
    for number in 0..crowd {
        engine.run_script(&format!("one-{number}"), &[], "while :; do echo x; sleep 1; done");
    }
    let streams = |agent: &Agent| {
        let held = agent.admin.connections().unwrap_or_default();
        held.iter().filter(|row| row.purpose.as_deref() == Some("logs")).count()
    };
    wait::until("all to be read", PATIENCE, || (streams(&agent) == crowd).then_some(()));
    engine.kill9().expect("kill the engine");
    wait::until("all to be cut off", PATIENCE, || (streams(&agent) == 0).then_some(()));
    engine.restart().expect("start the engine again");

    let (began, before, control) = (Instant::now(), gate.requests(), Control::start());
    let mut looks = vec![(Duration::ZERO, 0)];
    let mut slowest = Duration::ZERO;
    while streams(&agent) < crowd {
        let asked = Instant::now();
        engine.docker(&["ps", "--quiet"]).expect("docker ps");
        slowest = slowest.max(asked.elapsed());
        assert!(
            began.elapsed() < 2 * PATIENCE,
            "{} of {crowd} are back",
            streams(&agent)
        );
        // A request is counted a moment after it was let through: so the time is taken after.
        let requests = gate.requests() - before;
        looks.push((began.elapsed(), requests));
        sleep(LOOK);
    }
    let prices = control.prices();
    // A moment, in which those come that were let through before.
    let late = prices.stretched(Duration::from_millis(500));
    for (at, first) in &looks {
        for (later, last) in looks.iter().filter(|(later, _)| later > at) {
            let most = BURST as f64 + f64::from(rate) * (*later - *at + late).as_secs_f64();
            let came = (last - first) as f64;
            // Pings over idle connections do not wait in the queue.
            assert!(came <= most + 4.0, "{came} requests from {at:?} to {later:?}");
        }
    }
    let (took, requests) = looks.last().expect("one at least");
    writeln!(
        std::io::stdout(),
        "{crowd} streams back after {:.1} s with {requests} requests; the slowest docker ps took {:.2} s",
        took.as_secs_f64(),
        slowest.as_secs_f64(),
    )
    .expect("standard output");
    assert!(
        slowest < prices.stretched(Duration::from_secs(10)),
        "docker ps took {slowest:?}; {prices:?}"
    );
    agent.stop();
}
