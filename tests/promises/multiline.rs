//! Several lines as one record: whole across rotations and a SIGKILL, chosen by rules and by labels.

use std::thread::sleep;
use std::time::Duration;

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

const SECOND: Duration = Duration::from_secs(1);

/// Traces of three lines on standard output, two at once, and other lines on standard error in between.
fn script(name: &str, traces: usize) -> String {
    format!(
        r#"exec awk 'BEGIN {{
            for (n = 1; n <= {traces}; n++) {{
                printf "{name} fails %06d\n  at a %d\n  at b %d\n", n, n, n
                printf "  {name} notes %06d\n", n > "/dev/stderr"
                if (n % 2 == 0) {{ fflush(); system("sleep 0.1") }}
            }}
        }}'"#
    )
}

fn traces(name: &str, traces: usize) -> Vec<Vec<u8>> {
    let trace = |n| format!("{name} fails {n:06}\n  at a {n}\n  at b {n}").into_bytes();
    (1..=traces).map(trace).collect()
}

#[test]
fn records_of_several_lines_are_whole_across_rotations_and_a_sigkill() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .rotation("1s")
        .kernel("off")
        .environment(
            "LOG_CAPTURER_CAPTURE_MULTILINE_RULES",
            r"[{start: '^\S', containers: {name: 'ruled*'}}]",
        )
        .start();
    agent.wait_ready();
    engine.run_script("ruled", &[], &script("ruled", 140));
    let label = r"--label=log-capturer.multiline=^\w+ fails";
    engine.run_script("labelled", &[label], &script("labelled", 140));
    agent.wait_records(100, PATIENCE);
    agent.kill();
    sleep(SECOND);
    agent.start_again();
    agent.wait_ready();
    let off = Writer::new("ruled-not", Kind::Mixed, 30);
    off.start_with(&engine, &["--label=log-capturer.multiline=off"]);
    let bad = Writer::new("bad", Kind::Short, 30);
    bad.start_with(&engine, &["--label=log-capturer.multiline=("]);
    engine.run_script("later", &[label], &script("later", 10));
    for name in ["ruled", "labelled", "later", "ruled-not", "bad"] {
        engine.wait(name);
    }
    // The notes are no starts: how they are put together is up to the clock.
    agent.settle(2 * 140 + 10 + 60 + 3, PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    let of_later = |name| metrics.sum(name, &[("container", "later")]).unwrap_or(0.0);
    let (lines, merged) = (of_later("lines_read_total"), of_later("lines_merged_total"));
    agent.stop();

    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let mut expected = vec![
        ("ruled".into(), "stdout", traces("ruled", 140)),
        ("labelled".into(), "stdout", traces("labelled", 140)),
        ("later".into(), "stdout", traces("later", 10)),
    ];
    expected.extend(off.expected_of_both());
    expected.extend(bad.expected_of_both());
    captured.assert_exact(&expected);
    let notes = captured.lines("later", "stderr");
    assert_eq!((lines, lines - merged), (40.0, 10.0 + notes.len() as f64));
    for name in ["ruled", "labelled", "later"] {
        let notes = captured.lines(name, "stderr").join(&b'\n');
        let written = engine.logged(name, "stderr").join(&b'\n');
        assert!(notes == written, "{name}: {}", String::from_utf8_lossy(&notes));
    }
    let stderr = agent.stderr();
    let told = stderr.lines().filter(|line| line.contains("log-capturer.multiline"));
    assert_eq!(told.count(), 1, "times told of the bad label:\n{stderr}");
}

#[test]
fn a_record_that_is_not_complete_is_delivered_after_its_delay_and_at_the_end() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket())
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_MULTILINE_RULES", r"[{start: '^\S'}]")
        .environment("LOG_CAPTURER_CAPTURE_MULTILINE_MAX_DELAY", "2s")
        // Or the silence would wake the stream, and end the record by chance.
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_PROBE_AFTER", "10m")
        .environment("LOG_CAPTURER_CAPTURE_SILENCE_MAX_INTERVAL", "10m")
        .start();
    agent.wait_ready();
    engine.run_script("waits", &[], "echo start; echo '  on'; sleep 100");
    agent.wait_records(1, PATIENCE);
    engine.run_script("ends", &[], "echo start; echo '  on'");
    engine.wait("ends");
    agent.wait_records(2, PATIENCE);
    engine.run_script("stopped", &[], "echo start; echo '  on'; sleep 100");
    integration::wait::until("its lines to be read", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        (metrics.sum("lines_read_total", &[("container", "stopped")])? >= 2.0).then_some(())
    });
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    let whole = vec![b"start\n  on".to_vec()];
    for name in ["waits", "ends", "stopped"] {
        assert_eq!(captured.lines(name, "stdout"), whole, "{name}");
    }
}
