//! A store that takes nothing for a while costs disk, and no line: what it does not take waits in the spool.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch, STOP, Signal};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::seed::seed;
use integration::store::{Fault, Loki};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements, witness};

use super::loki::{expected, sink, wait_lines, write};

const SECOND: Duration = Duration::from_secs(1);

/// A metric of the sink with the spool, or of all; not a number while the agent does not answer yet.
fn of(agent: &Agent, metric: &str) -> f64 {
    let metrics = agent.admin.metrics();
    metrics.map_or(f64::NAN, |metrics| {
        let of_the_sink = metrics.sum(metric, &[("sink", "main")]);
        of_the_sink.or_else(|| metrics.sum(metric, &[])).unwrap_or(0.0)
    })
}

fn wait_spooled(agent: &Agent, lines: f64) {
    wait::until(&format!("{lines} lines in the spool"), PATIENCE, || {
        (of(agent, "spool_lines") >= lines).then_some(())
    });
}

fn is_full(agent: &Agent, why: &str) -> bool {
    let ready = agent.admin.get("/readyz");
    ready.is_ok_and(|page| page.status == 503 && page.body.contains("spool main") && page.body.contains(why))
}

/// Exactly once in the file.
fn assert_file(agent: &Agent, lines: usize) {
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let written: Vec<_> = expected(lines).into_iter().map(String::into_bytes).collect();
    assert_eq!(captured.account("web", "stdout", &written).complaint(), "");
}

#[test]
fn a_store_that_is_down_holds_up_neither_reading_nor_the_file_and_takes_no_memory() {
    const LINES: usize = 60_000;
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", LINES, "0.2");
    // Little room on the way to the sinks, so that what is measured is the sink's.
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&loki, ""))
        .more("delivery: {max_batches: 2}")
        .start();
    agent.wait_ready();
    wait_lines(&loki, 5_000);
    let spooled = agent.home().join("state/spool/main");
    let names = || {
        fs::read_dir(&spooled)
            .expect("the spool")
            .flatten()
            .map(|file| file.file_name())
    };
    assert_eq!(names().collect::<Vec<_>>(), ["cursor"], "in health nothing is written");
    let before = witness::allocated(agent.pid());
    loki.set(Fault::Down);
    let mut most = 0;
    wait::until("every line in the file", 2 * PATIENCE, || {
        most = most.max(witness::allocated(agent.pid()));
        (agent.records() >= LINES).then_some(())
    });
    wait_spooled(&agent, LINES as f64 / 2.0);
    assert_eq!(of(&agent, "delivery_drift"), 0.0);
    assert!(of(&agent, "spool_bytes") > 0.0 && of(&agent, "spool_oldest_seconds") > 0.0);
    // Nothing of it is to be had from the engine any more.
    engine.docker(&["rm", "--force", "web"]).expect("docker rm");
    println!(
        "{} KiB more allocated at most while it is down",
        most.saturating_sub(before) >> 10
    );
    let (left, back) = (of(&agent, "spool_lines"), Instant::now());
    loki.set(Fault::None);
    wait_lines(&loki, LINES);
    let seconds = back.elapsed().as_secs_f64();
    most = most.max(witness::allocated(agent.pid()));
    println!(
        "{} KiB more allocated at most; {left} lines from the spool in {seconds:.1} s",
        most.saturating_sub(before) >> 10
    );
    assert!(most.saturating_sub(before) < 4 << 20, "{most} bytes, {before} before");
    wait::until("an empty spool", PATIENCE, || {
        (of(&agent, "spool_bytes") == 0.0).then_some(())
    });
    assert_eq!(
        (of(&agent, "delivery_drift"), of(&agent, "lines_dropped_total")),
        (0.0, 0.0)
    );
    assert_eq!(names().collect::<Vec<_>>(), ["cursor"]);
    agent.wait_ready();
    agent.stop();
    assert_file(&agent, LINES);
    assert_eq!((loki.lines("web"), loki.repeats()), (expected(LINES), 0));
    assert_eq!(loki.complaints(), Vec::<String>::new());
}

#[test]
fn what_is_spooled_outlives_sigkill_sigterm_and_the_container() {
    const LINES: usize = 20_000;
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", LINES, "0.3");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_ready();
    wait_lines(&loki, 2_000);
    loki.set(Fault::Down);
    wait_spooled(&agent, 3_000.0);
    agent.kill();
    agent.start_again();
    wait_spooled(&agent, 6_000.0);
    let asked = Instant::now();
    agent.signal(Signal::TERM);
    // All of it is safe: the end waits for no store.
    assert_eq!(agent.wait_exit(STOP).code(), Some(0), "{}", agent.stderr());
    assert!(asked.elapsed() < 8 * SECOND, "{:?}", asked.elapsed());
    agent.start_again();
    let last = format!("\"line\":\"{LINES}\"");
    wait::until("the last line", 2 * PATIENCE, || {
        let text = fs::read_to_string(agent.output()).ok()?;
        (text.contains(&last) && of(&agent, "sink_waiting_lines") == 0.0).then_some(())
    });
    assert_eq!(of(&agent, "delivery_drift"), 0.0);
    engine.docker(&["rm", "--force", "web"]).expect("docker rm");
    sleep(2 * SECOND);
    agent.kill();
    loki.set(Fault::None);
    agent.start_again();
    wait_lines(&loki, LINES);
    agent.wait_ready();
    agent.stop();
    assert_file(&agent, LINES);
    assert_eq!(loki.lines("web"), expected(LINES));
    assert_eq!(loki.complaints(), Vec::<String>::new());
}

/// The position waits for the store, and the file is far ahead of it.
#[test]
fn a_file_beside_a_slow_or_dead_store_has_every_line_once_whenever_the_agent_is_killed() {
    const LINES: usize = 30_000;
    needs!(requirements::engine());
    let (engine, loki) = (Engine::start(), Loki::start());
    write(&engine, "web", LINES, "0.4");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&loki, "")).start();
    agent.wait_ready();
    let mut random = fastrand::Rng::with_seed(seed());
    for fault in [
        Fault::Slow(SECOND),
        Fault::Down,
        Fault::None,
        Fault::Slow(SECOND / 2),
        Fault::Down,
        Fault::Answer(500, ""),
    ] {
        loki.set(fault);
        sleep(SECOND / 4 + 2 * SECOND.mul_f64(random.f64()));
        agent.kill();
        agent.start_again();
    }
    loki.set(Fault::None);
    wait_lines(&loki, LINES);
    agent.wait_ready();
    println!("the store was sent {} lines twice", loki.repeats());
    agent.stop();
    assert_file(&agent, LINES);
    assert_eq!(loki.lines("web"), expected(LINES));
}

#[test]
fn a_full_spool_blocks_or_drops_as_it_is_told_and_counts_what_it_drops() {
    // More than the smallest spool takes, compressed.
    const LINES: usize = 120_000;
    needs!(requirements::engine());
    let engine = Engine::start();
    let script = format!("n=0; while [ $n -lt {LINES} ]; do n=$((n+1)); echo $n; done; sleep 3600");
    for (number, when_full) in ["drop_oldest", "drop_newest", "block"].into_iter().enumerate() {
        let loki = Loki::start();
        loki.set(Fault::Down);
        let mut agent = Launch::on(engine.socket())
            .more_sinks(&sink(&loki, ""))
            .more(&format!("spool: {{max_bytes: 1MiB, when_full: {when_full}}}\n"))
            .start();
        if number == 0 {
            engine.run_script("web", &[], &script);
        }
        let is_block = when_full == "block";
        if is_block {
            wait::until("the spool to be full", 2 * PATIENCE, || {
                is_full(&agent, "full").then_some(())
            });
            sleep(SECOND);
            let before = agent.records();
            sleep(2 * SECOND);
            assert_eq!(agent.records(), before, "it reads on");
            assert!(before < LINES);
        } else {
            agent.wait_records(LINES, 2 * PATIENCE);
            wait::until("lines to be dropped", PATIENCE, || {
                (is_full(&agent, "dropped") && of(&agent, "lines_dropped_total") > 0.0).then_some(())
            });
            wait::until("the rest in the spool", PATIENCE, || {
                (of(&agent, "sink_waiting_lines") == 0.0).then_some(())
            });
        }
        let dropped = of(&agent, "lines_dropped_total") as usize;
        assert_eq!(of(&agent, "delivery_drift"), 0.0);
        assert!(of(&agent, "spool_bytes") <= f64::from(1 << 20));
        loki.set(Fault::None);
        wait_lines(&loki, LINES - dropped);
        wait::until("every line in the file", PATIENCE, || {
            (agent.records() >= LINES).then_some(())
        });
        agent.wait_ready();
        assert_eq!(of(&agent, "lines_dropped_total") as usize, dropped);
        agent.stop();
        let lines = loki.lines("web");
        let all = expected(LINES);
        println!("{when_full}: {dropped} of {LINES} lines dropped");
        match when_full {
            "drop_oldest" => assert!(
                lines == all[dropped..],
                "{} lines, from {:?}",
                lines.len(),
                lines.first()
            ),
            _ => assert!(lines.len() == LINES - dropped && lines.is_sorted_by_key(|line| line.parse::<usize>().ok())),
        }
        assert!(is_block == (dropped == 0));
        assert_file(&agent, LINES);
    }
}

/// Where the agent sees a small disk, and nobody else does.
const SMALL_DISK: &str = "mkdir state && mount -t tmpfs -o size=512k,mode=700 tmpfs state && exec \"$@\"";

#[test]
fn a_full_disk_under_the_spool_holds_the_sink_and_costs_no_line() {
    const LINES: usize = 100_000;
    needs!(requirements::engine(), requirements::program("unshare"));
    let (engine, loki) = (Engine::start(), Loki::start());
    loki.set(Fault::Down);
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&loki, ""))
        .under(&["unshare", "--mount", "--fork", "sh", "-c", SMALL_DISK, "sh"])
        .start();
    write(&engine, "web", LINES, "0");
    wait::until("the disk to be full", 2 * PATIENCE, || {
        is_full(&agent, "the disk does not take it").then_some(())
    });
    assert_eq!(of(&agent, "lines_dropped_total"), 0.0);
    loki.set(Fault::None);
    wait_lines(&loki, LINES);
    agent.wait_ready();
    assert_eq!(
        (of(&agent, "delivery_drift"), of(&agent, "spool_damaged_total")),
        (0.0, 0.0)
    );
    agent.stop();
    assert_file(&agent, LINES);
    assert_eq!(loki.lines("web"), expected(LINES));
}
