//! A connection that is really leaked is named, and nothing else ever is.
//!
//! The faults come from outside of the agent's code, by [`Shim`]: its own way of closing leaves no room for them.

use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::admin::{Connection, Leak, Leaks};
use integration::agent::{Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::faults::{BadEngine, Logs};
use integration::lines::Captured;
use integration::shim::Shim;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer, while_containers_come_and_go};
use integration::{needs, requirements, wait, witness};

const SECOND: Duration = Duration::from_secs(1);

const SCAN: Duration = SECOND;
const LEAKS_EXIT: i32 = 3;

/// How long nothing else may be named.
fn quiet() -> Duration {
    SECOND * size("QUIET_SECONDS", 4)
}

fn launch(engine: &Engine, shim: &Shim, rotation: &'static str, heal: &str) -> Agent {
    let launch = Launch::on(engine.socket()).rotation(rotation).kernel("required");
    let agent = shim
        .preload(launch)
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", "1s")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_ORPHAN_AFTER", "1s")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_HALF_CLOSED_AFTER", "3s")
        // So that an idle connection is closed while the test looks.
        .environment("LOG_CAPTURER_DOCKER_POOL_IDLE_TIMEOUT", "3s")
        .environment("LOG_CAPTURER_DOCKER_POOL_MIN_SIZE", "0")
        .environment("LOG_CAPTURER_KERNEL_HEAL", heal)
        // A stream that was made deaf is to stay so.
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_PROBE_AFTER", "1h")
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_MAX_INTERVAL", "1h")
        .start();
    agent.wait_ready();
    agent
}

/// What the command says: its exit code, and the rows, which are the page's.
fn leaks(agent: &Agent) -> Vec<Leak> {
    let output = agent.ask(&["leaks", "--json"]);
    let page: Leaks = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let code = if page.leaks.is_empty() { 0 } else { LEAKS_EXIT };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(page.growing.is_empty(), "{page:?}");
    page.leaks
}

fn inodes(leaks: &[Leak]) -> Vec<u64> {
    let mut inodes: Vec<_> = leaks.iter().map(|leak| leak.inode).collect();
    inodes.sort_unstable();
    inodes
}

fn assert_none_for(agent: &Agent, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let named = leaks(agent);
        assert!(named.is_empty(), "named although nothing is leaked: {named:?}");
        sleep(SECOND / 4);
    }
}

/// An open connection that `wanted` takes, and a time at which it was not open yet.
fn connection(agent: &Agent, what: &str, wanted: impl Fn(&Connection) -> bool) -> (Connection, Instant) {
    wait::until(what, PATIENCE, || {
        let asked = Instant::now();
        let row = agent.admin.connections().ok()?.into_iter().find(|row| wanted(row))?;
        let opened = asked - Duration::from_secs_f64(row.age_seconds);
        Some((row, opened))
    })
}

/// As above, for a connection whose close is not made.
fn keep(shim: &Shim, agent: &Agent, what: &str, wanted: impl Fn(&Connection) -> bool) -> (Connection, Instant) {
    shim.keep(agent.pid(), || {
        let found = connection(agent, what, &wanted);
        (found.0.inode, found)
    })
}

fn log_of<'a>(container: &'a str, opened_by: &'a str) -> impl Fn(&Connection) -> bool + 'a {
    move |row| {
        row.container.as_deref() == Some(container) && row.opened_by.as_ref().is_some_and(|by| by.ends_with(opened_by))
    }
}

fn leaked(agent: &Agent, reason: &str) -> f64 {
    let metrics = agent.admin.metrics().expect("/metrics");
    metrics.sum("leaked_connections", &[("reason", reason)]).unwrap_or(0.0)
}

/// Which scan after the `last` it is that names so many leaks: counted, as a busy machine scans late.
fn scans_until(agent: &Agent, mut last: Instant, leaks: usize) -> usize {
    let mut scans = 0;
    wait::until("the leak to be named", PATIENCE, || {
        let page = agent.admin.leaks().ok()?;
        let scanned = Instant::now() - Duration::from_secs_f64(page.scanned_seconds_ago?);
        // The answer takes its time, so one scan's moment is not quite the same each time.
        if scanned > last + SCAN / 2 {
            (scans, last) = (scans + 1, scanned);
        }
        (page.leaks.len() == leaks).then_some(())
    });
    scans
}

/// Its last words and its exit code do not pass over what it could not close.
fn assert_ends_with_leaks(agent: &mut Agent, leaks: usize) {
    agent.signal(Signal::TERM);
    let status = agent.wait_exit(STOP);
    assert_eq!(status.code(), Some(1), "{status}");
    let last = agent.last_words();
    assert!(
        last.contains(&format!("the kernel still holds {leaks} connections")),
        "{last:?}"
    );
}

#[test]
fn a_connection_that_is_not_closed_is_named_with_its_opener_and_nothing_else_is() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::ss(),
        requirements::program("gcc")
    );
    let engine = Engine::start();
    let shim = Shim::build();
    // Shorter than a scan's interval: one connection may come and go without being seen by any.
    let mut agent = launch(&engine, &shim, "400ms", "false");
    // The first list's, before the pool closes it.
    let (control, _) = connection(&agent, "a control connection", |row| {
        row.purpose.as_deref() == Some("control")
    });
    let ids = ["north", "south"].map(|name| {
        // A hundred lines a second, for longer than it takes.
        let lines = 100_000 + 300 * quiet().as_secs() as usize;
        Writer::new(name, Kind::Short, lines).start(&engine);
        engine
            .docker(&["inspect", "--format", "{{.Id}}", name])
            .expect("inspect it")
    });
    let mut planted = Vec::new();
    while_containers_come_and_go(&engine, || {
        assert_none_for(&agent, quiet());
        let mut unseen = 0;
        for id in ids.iter().cycle() {
            let is_log = log_of(id, "rotation");
            let (victim, opened) = keep(&shim, &agent, "a rotated stream", |row| {
                is_log(row) && row.age_seconds < 0.1
            });
            let asked = Instant::now();
            let scan = agent.admin.leaks().expect("/leaks").scanned_seconds_ago;
            if scan.is_some_and(|ago| opened.elapsed().as_secs_f64() < ago) {
                // No scan saw it while the register still knew it.
                unseen += 1;
            }
            planted.push(victim.inode);
            planted.sort_unstable();
            let last = scan.map_or(asked, |ago| asked - Duration::from_secs_f64(ago));
            let scans = scans_until(&agent, last, planted.len());
            // It must look so for as long as one scan's interval first, and be seen looking so twice.
            assert!(scans <= 3, "named at scan {scans} after it was leaked");
            let named = leaks(&agent);
            assert_eq!(inodes(&named), planted);
            let leak = named.iter().find(|leak| leak.inode == victim.inode).expect("just seen");
            assert_eq!(leak.reason, "orphan");
            assert_eq!(
                (&leak.opened_by, &leak.container),
                (&victim.opened_by, &victim.container)
            );
            assert_eq!(leaked(&agent, "orphan"), planted.len() as f64);
            let held = witness::connections(agent.pid(), engine.socket());
            assert!(held.inodes.contains(&victim.inode), "ss does not see it: {held:?}");
            if planted.len() >= 2 && unseen >= 1 {
                break;
            }
            assert!(
                planted.len() < 12,
                "each of {planted:?} was seen by a scan before it was closed"
            );
        }
        // They stay, and stay alone.
        let end = Instant::now() + quiet();
        while Instant::now() < end {
            assert_eq!(inodes(&leaks(&agent)), planted);
            sleep(SECOND / 4);
        }
        assert_eq!(inodes(&agent.admin.leaks().expect("/leaks").leaks), planted);
    });
    assert!(
        !inodes(&leaks(&agent)).contains(&control.inode),
        "an idle connection was closed in time"
    );
    for reason in ["eof_read_not_closed", "eof_never_read", "container_gone"] {
        assert_eq!(leaked(&agent, reason), 0.0, "{reason}");
    }
    let metrics = agent.admin.metrics().expect("/metrics");
    assert_eq!(metrics.sum("leaks_detected_total", &[]), Some(planted.len() as f64));
    assert_ends_with_leaks(&mut agent, planted.len());
}

/// A log ends and its container seems to run on: the agent waits before it tries again, and holds nothing meanwhile.
#[test]
fn what_waits_for_another_attempt_is_no_leak() {
    needs!(requirements::kernel());
    let engine = BadEngine::start(Logs::Nothing);
    let mut agent = Launch::on(engine.peer.path())
        .kernel("required")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", "200ms")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_HALF_CLOSED_AFTER", "200ms")
        .environment("LOG_CAPTURER_DOCKER_RETRY_INITIAL_DELAY", "60s")
        .environment("LOG_CAPTURER_DOCKER_RETRY_MAX_DELAY", "60s")
        .start();
    agent.wait_ready();
    // The log, and the rest of it once more.
    wait::until("the log to be read to its end", PATIENCE, || {
        (engine.logs_asked() >= 2).then_some(())
    });
    assert_none_for(&agent, 2 * SECOND);
    let held = agent.admin.connections().expect("/connections");
    assert!(held.iter().all(|row| row.container.is_none()), "{held:?}");
    agent.stop();
}

#[test]
fn a_leaked_connection_is_ended_where_that_is_asked_for_and_costs_no_line() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::ss(),
        requirements::program("gcc")
    );
    let engine = Engine::start();
    let shim = Shim::build();
    let mut agent = launch(&engine, &shim, "1s", "true");
    let writer = Writer::new("north", Kind::Mixed, 3_000).pace(20, 0.1);
    writer.start(&engine);
    let id = engine
        .docker(&["inspect", "--format", "{{.Id}}", "north"])
        .expect("inspect it");
    let (idle, _) = keep(&shim, &agent, "a control connection", |row| {
        row.purpose.as_deref() == Some("control")
    });
    let (victim, _) = keep(&shim, &agent, "a rotated stream", log_of(&id, "rotation"));
    let healed = |agent: &Agent| {
        let metrics = agent.admin.metrics().expect("/metrics");
        metrics.sum("leaks_healed_total", &[]).unwrap_or(0.0)
    };
    wait::until("the leaks to be healed", PATIENCE, || {
        (healed(&agent) >= 2.0).then_some(())
    });
    wait::until("their peers to go", PATIENCE, || {
        let held = witness::connections(agent.pid(), engine.socket());
        let gone = |inode| !held.inodes.contains(&inode) && held.peerless.contains(&inode);
        (gone(victim.inode) && gone(idle.inode)).then_some(())
    });
    // The descriptors stay open, so they stay named; the shutdown is not made again.
    sleep(3 * SCAN);
    let named = leaks(&agent);
    let mut planted = vec![victim.inode, idle.inode];
    planted.sort_unstable();
    assert_eq!(inodes(&named), planted);
    assert!(named.iter().all(|leak| leak.state == "peer_gone"), "{named:?}");
    assert_eq!(healed(&agent), 2.0);
    engine.wait("north");
    agent.wait_records(3_000, PATIENCE);
    assert_ends_with_leaks(&mut agent, 2);
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&writer.expected_of_both());
}

#[test]
fn a_connection_whose_end_nobody_reads_is_named_and_so_is_one_of_a_removed_container() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::ss(),
        requirements::program("gcc")
    );
    let engine = Engine::start();
    let shim = Shim::build();
    let mut agent = launch(&engine, &shim, "5m", "false");
    let planted = ["stays", "goes", "heard"].map(|name| {
        Writer::new(name, Kind::Short, 100_000).start(&engine);
        let id = engine
            .docker(&["inspect", "--format", "{{.Id}}", name])
            .expect("inspect it");
        connection(&agent, "its log", log_of(&id, "follow")).0
    });
    let [stays, goes, _] = &planted;
    shim.deafen(stays.inode);
    shim.deafen(goes.inode);
    assert_none_for(&agent, quiet());
    // Its end is the end of every connection.
    engine.kill9().expect("kill the engine");
    engine.restart().expect("start the engine again");
    let named = wait::until("both to be named", PATIENCE, || {
        let named = leaks(&agent);
        (named.len() >= 2).then_some(named)
    });
    let mut both = vec![stays.inode, goes.inode];
    both.sort_unstable();
    assert_eq!(inodes(&named), both);
    for (leak, planted) in named
        .iter()
        .map(|leak| (leak, if leak.inode == stays.inode { stays } else { goes }))
    {
        assert_eq!(leak.reason, "eof_never_read");
        assert_eq!(
            (&leak.opened_by, &leak.container),
            (&planted.opened_by, &planted.container)
        );
    }
    assert_eq!(leaked(&agent, "eof_never_read"), 2.0);
    agent.wait_ready();
    engine.docker(&["rm", "--force", "goes"]).expect("remove it");
    wait::until("the reason to change", PATIENCE, || {
        let named = leaks(&agent);
        let reason = |inode| {
            named
                .iter()
                .find(|leak| leak.inode == inode)
                .map(|leak| leak.reason.as_str())
        };
        let both = (reason(stays.inode), reason(goes.inode));
        (both == (Some("eof_never_read"), Some("container_gone"))).then_some(())
    });
    assert_eq!(inodes(&leaks(&agent)), both);
    assert_eq!(
        (leaked(&agent, "eof_never_read"), leaked(&agent, "container_gone")),
        (1.0, 1.0)
    );
    agent.stop();
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}
