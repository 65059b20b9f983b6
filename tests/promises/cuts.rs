//! A proxy between the agent and the engine cuts connections anywhere, lets them stand still, or lets them trickle.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::engine::Engine;
use integration::ledger;
use integration::lines::Captured;
use integration::proxy::{Fault, Place, Plan, Proxy};
use integration::seed::seed;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

const SECOND: Duration = Duration::from_secs(1);

fn launch(proxy: &Proxy) -> Agent {
    let agent = Launch::on(proxy.path())
        .rotation("1s")
        .kernel("required")
        .environment("LOG_CAPTURER_CAPTURE_ROTATION_IDLE_INTERVAL", "1s")
        .environment("LOG_CAPTURER_DOCKER_RETRY_MAX_DELAY", "500ms")
        .start();
    agent.wait_ready();
    agent
}

/// Every line exactly once, no gap, and no connection but those that are needed: here, at the proxy, and at the end.
fn assert_whole(engine: &Engine, proxy: &Proxy, agent: &mut Agent, writers: &[Writer]) {
    for writer in writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    ledger::assert_no_connection_left_over(agent, proxy.path(), 0);
    let metrics = agent.admin.metrics().expect("/metrics");
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
    assert_eq!(
        metrics.sum("gaps_total", &[]).unwrap_or(0.0),
        0.0,
        "gaps where there are none"
    );
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
    wait::until("the proxy's connections to end", PATIENCE, || {
        (proxy.open() == 0).then_some(())
    });
}

#[test]
fn connections_that_are_cut_anywhere_cost_no_line() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let proxy = Proxy::random(engine.socket(), seed());
    let mut agent = launch(&proxy);
    let cut_for = size("CUT_SECONDS", 7);
    // They write for somewhat longer: until each fault was done.
    let seconds = cut_for as usize + 5;
    let writers = [
        Writer::new("short", Kind::Short, seconds * 500).pace(50, 0.1),
        Writer::new("mixed", Kind::Mixed, seconds * 200).pace(20, 0.1),
        Writer::new("tty", Kind::Tty, seconds * 100).pace(10, 0.1),
        Writer::new("long", Kind::Long, seconds * 4).pace(1, 0.25),
        Writer::new("unterminated", Kind::Unterminated, seconds * 50).pace(5, 0.1),
    ];
    for writer in &writers {
        writer.start(&engine);
    }
    sleep(SECOND * cut_for);
    wait::until("each fault to be done", PATIENCE, || {
        let done = proxy.done();
        Fault::PASSING
            .iter()
            .all(|fault| done.contains_key(fault))
            .then_some(())
    });
    proxy.calm();
    println!("{:?}", proxy.done());
    assert_whole(&engine, &proxy, &mut agent, &writers);
}

fn plan(fault: Fault, after: usize) -> Plan {
    Plan { fault, after }
}

/// To the log streams, in the order of their opening.
fn script(engine: &Engine, plans: Vec<Plan>) -> Proxy {
    let streams = AtomicUsize::new(0);
    Proxy::start(engine.socket(), seed(), move |request, _, _| {
        let is_log = request.contains("/logs");
        let number = is_log.then(|| streams.fetch_add(1, Ordering::SeqCst))?;
        plans.get(number).copied()
    })
}

#[test]
fn a_rotation_that_fails_leaves_the_old_stream_where_it_was() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let proxy = script(
        &engine,
        vec![
            plan(Fault::CutAnywhere, 20_000),
            // While it repeats what the first one brought, it is to be rotated, and the next one fails.
            plan(Fault::Stall, 3_000),
            plan(Fault::Cut(Place::Head), 0),
        ],
    );
    let mut agent = launch(&proxy);
    let writer = Writer::new("short", Kind::Short, 450).pace(300, 4.0);
    writer.start(&engine);
    assert_whole(&engine, &proxy, &mut agent, &[writer]);
    assert_eq!(proxy.done().len(), 3, "{:?}", proxy.done());
}

#[test]
fn a_stream_that_stands_still_for_good_is_left_at_the_next_rotation() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    const STREAMS: usize = 3;
    let proxy = script(&engine, vec![plan(Fault::StallForGood, 3_000); STREAMS]);
    let mut agent = launch(&proxy);
    let writers = [Kind::Short, Kind::Mixed, Kind::Tty]
        .map(|kind| Writer::new(format!("{kind:?}").to_lowercase(), kind, 300).pace(10, 0.1));
    assert_eq!(writers.len(), STREAMS);
    for writer in &writers {
        writer.start(&engine);
    }
    assert_whole(&engine, &proxy, &mut agent, &writers);
    assert_eq!(proxy.done().get(&Fault::StallForGood), Some(&STREAMS));
}
