//! Every line exactly once and every connection accounted for, while streams
//! are rotated every two seconds and containers come and go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch};
use integration::control::{Control, Prices};
use integration::engine::Engine;
use integration::ledger::{self, Comparison};
use integration::lines::Captured;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);

/// At least a minute.
fn duration() -> Duration {
    SECOND * size("ROTATION_SECONDS", 60).max(60)
}

#[test]
fn every_line_exactly_once_and_every_connection_accounted_for() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let engine = Engine::start();
    let residents = residents();
    let (listed, started) = residents.split_at(residents.len() / 2);
    for writer in listed {
        writer.start(&engine);
    }
    let mut agent = Launch::on(engine.socket()).rotation("2s").kernel("required").start();
    agent.wait_ready();
    for writer in started {
        writer.start(&engine);
    }
    let (over, control) = (AtomicBool::new(false), Control::start());
    let (watched, visitors) = std::thread::scope(|scope| {
        let visitors = scope.spawn(|| come_and_go(&engine, &over));
        let watched = watch(&agent, &engine);
        over.store(true, Ordering::SeqCst);
        (watched, visitors.join().expect("containers come and go"))
    });
    for name in residents.iter().chain(&visitors.whole).map(|writer| &writer.name) {
        engine.wait(name);
    }

    let expected = expected(&engine, &residents, &visitors);
    let total = expected.iter().map(|(_, _, lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    println!("{total} lines of {} streams; {watched:?}", expected.len());
    watched.judge(control.prices());
    agent.stop();

    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let complaints: Vec<_> = expected
        .iter()
        .map(|(name, stream, lines)| (name, stream, captured.account(name, stream, lines).complaint()))
        .filter(|(.., complaint)| !complaint.is_empty())
        .map(|(name, stream, complaint)| format!("{name} {stream}: {complaint}"))
        .collect();
    assert!(complaints.is_empty(), "not exactly once:\n{}", complaints.join("\n"));
    assert_eq!(captured.records, total, "records of a stream that nobody wrote to");
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
}

/// Ten containers that write all the time; half of them are there before the agent.
fn residents() -> Vec<Writer> {
    let tenths = usize::try_from(duration().as_millis() / 100).expect("not that long");
    let mut residents = Vec::new();
    for number in 1..=2 {
        let named = |kind| format!("{kind}-{number}");
        residents.extend([
            Writer::new(named("short"), Kind::Short, tenths * 20).pace(20, 0.1),
            Writer::new(named("long"), Kind::Long, tenths / 5).pace(1, 0.5),
            Writer::new(named("tty"), Kind::Tty, tenths * 10).pace(10, 0.1),
            Writer::new(named("mixed"), Kind::Mixed, tenths * 10).pace(10, 0.1),
            Writer::new(named("unterminated"), Kind::Unterminated, tenths * 5).pace(5, 0.1),
        ]);
    }
    residents
}

#[derive(Default)]
struct Visitors {
    /// Ended by themselves: what they wrote is known.
    whole: Vec<Writer>,
    /// Stopped in the middle, or restarted: the engine knows what they wrote.
    cut: Vec<String>,
}

fn come_and_go(engine: &Engine, over: &AtomicBool) -> Visitors {
    let mut visitors = Visitors::default();
    engine.run_script("restarted", &[], RESTARTED);
    visitors.cut.push("restarted".into());
    for number in 0.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let kind = [Kind::Unterminated, Kind::Tty, Kind::Mixed, Kind::Long][number % 4];
        let lines = if kind == Kind::Long { 15 } else { 150 };
        let visitor = Writer::new(format!("visitor-{number}"), kind, lines);
        visitor.start(engine);
        visitors.whole.push(visitor);

        let stopped = Writer::new(format!("stopped-{number}"), Kind::Short, 1_000_000);
        stopped.start(engine);
        sleep(2 * SECOND);
        engine
            .docker(&["stop", "--time", "0", &stopped.name])
            .expect("stop a container");
        visitors.cut.push(stopped.name);
        if number % 3 == 2 {
            engine
                .docker(&["restart", "--time", "0", "restarted"])
                .expect("restart a container");
        }
    }
    engine
        .docker(&["stop", "--time", "0", "restarted"])
        .expect("stop a container");
    visitors
}

/// Its lines differ from one start to the next.
const RESTARTED: &str = "start=$(cut -d' ' -f1 /proc/uptime); n=0
    while :; do n=$((n+1)); echo \"restarted $start $n\"; usleep 20000; done";

/// Container, stream, and the lines of it.
type Expected = Vec<(String, &'static str, Vec<Vec<u8>>)>;

fn expected(engine: &Engine, residents: &[Writer], visitors: &Visitors) -> Expected {
    let known = residents
        .iter()
        .chain(&visitors.whole)
        .flat_map(|writer| ["stdout", "stderr"].map(|stream| (writer.name.clone(), stream, writer.expected(stream))));
    let asked = visitors
        .cut
        .iter()
        .map(|name| (name.clone(), "stdout", engine.logged(name, "stdout")));
    let expected: Expected = known.chain(asked).collect();
    let longest = expected.iter().map(|(.., lines)| lines.len()).max();
    assert!(longest > Some(1000), "nothing was written");
    expected
}

/// What was seen from second to second.
#[derive(Debug, Default)]
struct Watched {
    seconds: usize,
    /// Seconds with a quiet moment, in which the page had to be what `ss` saw.
    compared: usize,
    /// Seconds without one, in which the page had to lie between two looks of `ss`. The busier the machine, the longer a
    /// look takes, and the more there are of these.
    between: usize,
    most_connections: usize,
    verified: f64,
    faults: Vec<String>,
}

fn watch(agent: &Agent, engine: &Engine) -> Watched {
    let mut watched = Watched::default();
    let start = Instant::now();
    while start.elapsed() < duration() {
        watched.seconds += 1;
        let second = watched.seconds;
        let mut fault = |text: String| watched.faults.push(format!("second {second}: {text}"));

        let metrics = agent.admin.metrics().expect("/metrics");
        match ledger::conserved(&metrics) {
            Ok(0) => fault("no peer in /metrics".into()),
            Ok(_) => (),
            Err(unbalanced) => fault(unbalanced),
        }
        let rotations = |verified| {
            metrics
                .sum("stream_rotations_total", &[("verified", verified)])
                .unwrap_or(0.0)
        };
        for doubt in ["false", "unknown"] {
            if rotations(doubt) > 0.0 {
                fault(format!("{} rotations with verified=\"{doubt}\"", rotations(doubt)));
            }
        }
        // No line is missing from these logs, so that none may be said to be.
        let gaps = metrics.sum("gaps_total", &[]).unwrap_or(0.0);
        if gaps > 0.0 {
            fault(format!("{gaps} gaps where there are none"));
        }
        watched.verified = watched.verified.max(rotations("true"));

        let end_of_second = start + SECOND * u32::try_from(second).expect("not that long");
        let (mut between, mut difference) = (false, None);
        let compared = loop {
            match ledger::compare(agent, engine.socket()) {
                Comparison::Agrees { connections } => break Some(connections),
                Comparison::Between => between = true,
                Comparison::Differs(how) => difference = Some(how),
                Comparison::Restless => (),
            }
            if Instant::now() > end_of_second {
                break None;
            }
        };
        match (compared, difference) {
            (Some(connections), _) => {
                watched.compared += 1;
                watched.most_connections = watched.most_connections.max(connections);
            }
            (None, Some(how)) => watched.faults.push(format!("second {second}: {how}")),
            (None, None) => watched.between += usize::from(between),
        }
        sleep(end_of_second.saturating_duration_since(Instant::now()));
    }
    watched
}

impl Watched {
    fn judge(&self, prices: Prices) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
        // A second without a comparison is possible; many would mean that nothing was compared.
        assert!(
            self.compared > 0 && (self.compared + self.between) * 10 >= self.seconds * 9,
            "too few comparisons with ss: {self:?}"
        );
        assert!(
            self.most_connections >= 10,
            "fewer connections than containers: {self:?}"
        );
        // Ten streams every two seconds, and half of them at the least.
        let least = prices.thinned((10 * self.seconds / 2 / 2) as f64);
        assert!(
            self.verified >= least,
            "fewer than {least:.0} verified rotations: {self:?}, {prices:?}"
        );
    }
}
