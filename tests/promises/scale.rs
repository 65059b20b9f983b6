//! Many lines, many containers, long lines: every one exactly once, all the same.

use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use integration::agent::{Agent, Launch};
use integration::control::Control;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

const SECOND: Duration = Duration::from_secs(1);

/// Waits for the containers, ends the agent, and holds it to every line exactly once.
fn assert_every_line(agent: &mut Agent, engine: &Engine, writers: &[Writer]) {
    for writer in writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    let gaps = agent.admin.metrics().expect("/metrics").sum("gaps_total", &[]);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
    assert_eq!(gaps.unwrap_or(0.0), 0.0, "gaps where there are none");
}

#[test]
fn rotation_every_second_under_ten_thousand_lines_a_second() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).rotation("1s").start();
    agent.wait_ready();
    let seconds = size("RATE_SECONDS", 6) as usize;
    // The pauses are longer than they say: about 10,000 lines a second of them all.
    let writers =
        ["north", "east", "south", "west"].map(|name| Writer::new(name, Kind::Mixed, seconds * 2_500).pace(300, 0.1));
    let (start, control) = (Instant::now(), Control::start());
    for writer in &writers {
        writer.start(&engine);
    }
    engine.wait(&writers[0].name);
    let rate = writers.iter().map(|writer| writer.lines).sum::<usize>() as f64 / start.elapsed().as_secs_f64();
    let rotations = agent
        .admin
        .metrics()
        .expect("/metrics")
        .sum("stream_rotations_total", &[]);
    let rotations = rotations.unwrap_or(0.0);
    let prices = control.prices();
    println!("{rate:.0} lines/s, {rotations} rotations");
    assert!(
        rotations >= prices.thinned(seconds as f64),
        "{rotations} rotations in {seconds} s: {prices:?}"
    );
    assert_every_line(&mut agent, &engine, &writers);
}

#[test]
fn more_busy_containers_than_slots_lose_no_line_and_none_starves() {
    needs!(requirements::engine());
    let (containers, slots) = (size("CONTAINERS", 14), size("SLOTS", 6));
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .rotation("2s")
        .environment("LOG_CAPTURER_CAPTURE_STREAMS_MAX_CONCURRENT", slots.to_string())
        .start();
    agent.wait_ready();
    let ticks = 10 * size("BUSY_SECONDS", 5) as usize;
    let writers: Vec<_> = (0..containers)
        .map(|number| Writer::new(format!("busy-{number:03}"), Kind::Mixed, 5 * ticks).pace(5, 0.1))
        .collect();
    thread::scope(|scope| {
        for some in writers.chunks(writers.len().div_ceil(4)) {
            let engine = &engine;
            scope.spawn(move || some.iter().for_each(|writer| writer.start(engine)));
        }
    });
    let (mut most_streams, mut longest_lag) = (0.0_f64, 0.0_f64);
    for _ in 0..10 {
        sleep(SECOND / 2);
        let metrics = agent.admin.metrics().expect("/metrics");
        let streams = metrics.sum("container_streams_active", &[]).unwrap_or(0.0);
        most_streams = most_streams.max(streams);
        let lags = metrics
            .samples
            .iter()
            .filter(|it| it.name == "log_capturer_stream_lag_seconds");
        longest_lag = lags.map(|lag| lag.value).fold(longest_lag, f64::max);
    }
    println!("{containers} containers, at most {most_streams} streams, longest lag {longest_lag:.1} s");
    // A rotation may hold two more.
    assert!(
        most_streams <= f64::from(slots) + 2.0,
        "{most_streams} streams with {slots} slots"
    );
    assert!(longest_lag > 0.0, "no lag is shown, though containers wait");
    // Everyone has had a turn by now: two seconds each, and some patience for a busy machine.
    wait::until("lines of every container", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let read = |writer: &Writer| metrics.sum("lines_read_total", &[("container", &writer.name)]) > Some(0.0);
        writers.iter().all(read).then_some(())
    });
    assert_every_line(&mut agent, &engine, &writers);
}

/// Lines of 40,000 bytes, each written in three pieces with pauses in between, so that streams are rotated meanwhile. A
/// piece is longer than the parts in which the engine passes lines on.
#[test]
fn rotation_in_the_middle_of_a_long_line_keeps_it_whole() {
    needs!(requirements::engine());
    const LINES: usize = 2;
    const PIECE: usize = 20_000;
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .rotation("1s")
        // A part of a line is no line: but for this, a stream that has brought no more than that is left alone.
        .environment("LOG_CAPTURER_CAPTURE_ROTATION_IDLE_INTERVAL", "1s")
        .start();
    agent.wait_ready();
    let control = Control::start();
    let letters = ["a", "b", "c"];
    for (name, to, arguments) in [
        ("stdout", "/dev/stdout", &[][..]),
        ("stderr", "/dev/stderr", &[]),
        ("tty", "/dev/stdout", &["--tty"]),
    ] {
        let script = format!(
            r#"exec awk 'BEGIN {{
                for (n = 1; n <= {LINES}; n++) {{
                    printf "%d ", n > "{to}"
                    for (l = 1; l <= 3; l++) {{
                        piece = substr("abc", l, 1); while (length(piece) < {PIECE}) piece = piece piece
                        printf "%s", substr(piece, 1, {PIECE}) > "{to}"; fflush(); system("sleep 1.1")
                    }}
                    printf "\n" > "{to}"; fflush()
                }}
            }}'"#
        );
        engine.run_script(name, arguments, &script);
    }
    for name in ["stdout", "stderr", "tty"] {
        engine.wait(name);
    }
    let lines: Vec<_> = (1..=LINES)
        .map(|n| format!("{n} {}", letters.map(|letter| letter.repeat(PIECE)).concat()).into_bytes())
        .collect();
    let expected = [("stdout", "stdout"), ("stderr", "stderr"), ("tty", "stdout")]
        .map(|(name, stream)| (name.to_owned(), stream, lines.clone()));
    agent.settle(3 * LINES, PATIENCE);
    let rotations = agent
        .admin
        .metrics()
        .expect("/metrics")
        .sum("stream_rotations_total", &[]);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, 3 * LINES);
    let prices = control.prices();
    assert!(
        rotations >= Some(prices.thinned(9.0)),
        "{rotations:?} rotations: none in mid-line; {prices:?}"
    );
}
