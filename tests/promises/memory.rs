//! Memory stays bounded whatever the containers do, and whatever the sinks do not.

use std::fs::File;
use std::io::Read;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch};
use integration::control;
use integration::crowd::Crowd;
use integration::engine::Engine;
use integration::faults::{BAD_CONTAINER, BadEngine, Logs};
use integration::lines::Captured;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};

const SECOND: Duration = Duration::from_secs(1);

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

/// Looks until `done`, and gives the most that was allocated meanwhile.
fn most_allocated(agent: &Agent, deadline: Duration, mut done: impl FnMut() -> bool) -> u64 {
    let start = Instant::now();
    let mut most = 0;
    loop {
        most = most.max(witness::allocated(agent.pid()));
        if done() {
            return most;
        }
        assert!(start.elapsed() < deadline, "not done after {deadline:?}");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_line_of_a_gibibyte_is_cut_and_never_held() {
    let engine = BadEngine::start(Logs::HugeLine(1024));
    let mut agent = Launch::on(engine.peer.path()).start();
    let start = Instant::now();
    let most = most_allocated(&agent, 120 * SECOND, || agent.records() == 2);
    println!("{} MiB allocated at most, {:.1?}", mib(most), start.elapsed());
    assert!(mib(most) < 32, "{} MiB allocated", mib(most));
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let lines = captured.lines(BAD_CONTAINER, "stdout");
    // `capture.max_line_bytes`
    assert_eq!(lines[0], vec![b'x'; 1 << 20], "{} bytes", lines[0].len());
    assert_eq!(lines[1], b"another line");
    assert_eq!(engine.logs_asked(), 1);
}

#[test]
fn ten_thousand_containers_cost_little_each_and_nothing_once_they_are_gone() {
    const CONTAINERS: usize = 10_000;
    let engine = Crowd::start(CONTAINERS);
    let mut agent = Launch::on(engine.path()).start();
    let start = Instant::now();
    agent.wait_ready();
    // Two turns of every slot, and all that is known of all.
    let followed = |agent: &Agent| {
        let metrics = agent.admin.metrics().expect("/metrics");
        metrics.sum("lines_read_total", &[]).unwrap_or(0.0)
    };
    let most = most_allocated(&agent, 60 * SECOND, || {
        sleep(SECOND / 4);
        followed(&agent) >= 100.0 && start.elapsed() > 6 * SECOND
    });
    let seconds = start.elapsed().as_secs_f64();
    let (requests, open) = (engine.requests(), engine.most_open());
    let share = control::effort(agent.pid(), 3 * SECOND).share;
    println!(
        "{} MiB allocated at most, {requests} requests and at most {open} connections in {seconds:.0} s, then {:.0} % of a core",
        mib(most),
        share * 100.0
    );
    assert!(mib(most) < 128, "{} MiB allocated", mib(most));
    // Fifty streams, and what the engine has not yet seen the end of.
    assert!(open <= 100, "{open} connections");
    // A turn of two seconds for each, and ten questions a second about silent ones.
    let fair = 50.0 * (seconds / 2.0 + 2.0) + 10.0 * seconds;
    assert!((requests as f64) < fair, "{requests} requests in {seconds:.0} s");

    engine.remove_all();
    // What was not read is said to be missing, and shown for a while.
    wait::until("the removed ones to be forgotten", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let streams = metrics.sum("container_streams_active", &[])?;
        let shown = metrics.label_values("lines_read_total", "container").len();
        let gaps = metrics.sum("gaps_total", &[])?;
        println!("{streams} streams, {shown} containers shown, {gaps} gaps");
        (streams == 0.0 && shown < CONTAINERS && shown as f64 == gaps).then_some(())
    });
    let more = engine.requests() - requests;
    // Only those that were read just then were asked for.
    assert!(more < CONTAINERS / 10, "{more} requests for logs that are gone");
    agent.stop();
}

#[test]
fn a_fifo_that_nobody_reads_for_a_while_costs_no_line_and_no_memory() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let launch = Launch::on(engine.socket());
    let fifo = launch.home().join("lines.json");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("make a FIFO");
    let mut agent = launch.start();
    agent.wait_ready();
    let writer = Writer::new("north", Kind::Short, 60_000).pace(5_000, 0.05);
    writer.start(&engine);
    let deaf_until = Instant::now() + SECOND * size("DEAF_SECONDS", 3);
    let most = most_allocated(&agent, 600 * SECOND, || Instant::now() > deaf_until);
    println!("{} MiB allocated at most while nobody reads", mib(most));
    assert!(mib(most) < 32, "{} MiB allocated while nobody reads", mib(most));
    assert_eq!(agent.admin.get("/healthz").expect("/healthz").status, 200);

    let mut pipe = File::open(&fifo).expect("open the FIFO");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    });
    engine.wait("north");
    wait::until("every line to be delivered", PATIENCE, || {
        let delivered = agent.admin.metrics().ok()?.sum("lines_delivered_total", &[])?;
        (delivered >= writer.lines as f64).then_some(())
    });
    agent.stop();
    let bytes = reader.join().expect("the reader").expect("read the FIFO");
    let captured = Captured::parse(&bytes).expect("records of the contract");
    let account = captured.account("north", "stdout", &writer.expected("stdout"));
    assert_eq!(account.complaint(), "");
}

#[test]
fn what_the_start_took_is_given_back() {
    needs!(requirements::engine(), requirements::kernel());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    // All the while a container is followed.
    let writer = Writer::new("north", Kind::Short, 1_000).pace(100, 0.05);
    writer.start(&engine);
    wait::until("no more than 6 MiB to be resident", PATIENCE, || {
        (mib(witness::resident(agent.pid())) <= 6).then_some(())
    });
    let most = mib(witness::most_resident(agent.pid()));
    println!("{most} MiB resident at most");
    assert!(most <= 10, "{most} MiB resident during the start");
    engine.wait("north");
    agent.stop();
}

#[test]
fn an_idle_stream_costs_little() {
    needs!(requirements::kernel());
    const FEW: usize = 100;
    const MANY: usize = 500;
    let [few, many] = [FEW, MANY].map(|containers| {
        let engine = Crowd::start(containers);
        let mut agent = Launch::on(engine.path())
            .kernel("required")
            .environment("LOG_CAPTURER_CAPTURE_STREAMS_MAX_CONCURRENT", MANY.to_string())
            .start();
        agent.wait_records(containers, PATIENCE);
        // Longer than it takes for memory to be given back.
        sleep(25 * SECOND);
        let (resident, allocated) = (witness::resident(agent.pid()), witness::allocated(agent.pid()));
        println!(
            "{containers} idle streams: {} KiB resident, {} KiB allocated",
            resident >> 10,
            allocated >> 10
        );
        agent.stop();
        allocated
    });
    let each = (many - few) / (MANY - FEW) as u64;
    println!("{each} bytes for each further idle stream");
    assert!(each <= 16 << 10, "{each} bytes");
}
