//! OpenTelemetry collectors as sinks: a real one, and a stand-in that misbehaves.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use integration::agent::{Agent, Launch};
use integration::engine::Engine;
use integration::rotel::{self, Rotel};
use integration::store::otlp::Record;
use integration::store::{Collector, Fault};
use integration::wait::{self, PATIENCE};
use integration::{needs, requirements};

/// A container that writes so many numbered lines, a thousand at once and then a pause.
fn write(engine: &Engine, name: &str, lines: usize, pause: &str) {
    let script = format!(
        "n=0; while [ $n -lt {lines} ]; do n=$((n+1)); echo $n; [ $((n % 1000)) -eq 0 ] && sleep {pause}; done; sleep 3600"
    );
    engine.run_script(name, &[], &script);
}

fn sink(url: &str, more: &str) -> String {
    format!("  - {{type: otlp, name: collector, url: \"{url}\"{more}}}\n")
}

fn expected(lines: usize) -> Vec<String> {
    (1..=lines).map(|number| number.to_string()).collect()
}

fn wait_records(collector: &Collector, records: usize) {
    wait::until(&format!("{records} records in the collector"), PATIENCE, || {
        (collector.count() >= records).then_some(())
    });
}

/// Without repeats, which a store tells by their ids.
fn distinct(records: Vec<Record>) -> Vec<Record> {
    let mut seen = HashSet::new();
    let is_new = |record: &Record| seen.insert(record.attribute("log.record.uid").to_owned());
    records.into_iter().filter(is_new).collect()
}

fn lines(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8(record.line().to_vec()).expect("a text");
    records.iter().map(text).collect()
}

fn count(agent: &Agent, name: &str, reason: &str) -> f64 {
    let metrics = agent.admin.metrics().expect("metrics");
    let labels = [("sink", "collector"), ("reason", reason)];
    let labels = if reason.is_empty() { &labels[..1] } else { &labels };
    metrics.sum(name, labels).unwrap_or(0.0)
}

#[test]
fn every_line_is_in_a_real_collector_once_and_in_order() {
    needs!(requirements::engine(), rotel::is_there());
    let (engine, rotel) = (Engine::start(), Rotel::start());
    write(&engine, "web", 20_000, "0.05");
    let mut agent = Launch::on(engine.socket()).more_sinks(&sink(&rotel.url(), "")).start();
    agent.wait_ready();
    wait::until("20,000 lines in the collector's file", PATIENCE, || {
        (rotel.bodies().len() >= 20_000).then_some(())
    });
    agent.stop();
    assert_eq!(rotel.bodies(), expected(20_000));
    let output = rotel.output();
    for attribute in [
        "container.name: Str(web)",
        "container.image.name: Str(busybox)",
        "service.name: Str(web)",
        "log.iostream: Str(stdout)",
        "InstrumentationScope log-capturer",
    ] {
        assert!(output.contains(attribute), "no {attribute}");
    }
}

#[test]
fn every_line_is_in_the_collector_once_with_its_resource_and_its_own_id() {
    needs!(requirements::engine());
    let (engine, collector) = (Engine::start(), Collector::start());
    for name in ["north", "south"] {
        write(&engine, name, 10_000, "0.05");
    }
    let binary = ["--log-driver", "local"];
    engine.run_script("binary", &binary, r"printf '\377\376 \000\n' >&2; sleep 3600");
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&collector.url(), ""))
        .start();
    agent.wait_ready();
    wait_records(&collector, 20_001);
    assert_eq!(count(&agent, "lines_delivered_total", ""), 20_001.0);
    assert_eq!(count(&agent, "lines_redelivered_total", ""), 0.0);
    assert_eq!(count(&agent, "delivery_drift", ""), 0.0);
    agent.stop();
    assert_eq!(collector.complaints(), Vec::<String>::new());
    for name in ["north", "south"] {
        assert_eq!(collector.lines(name), expected(10_000), "{name}");
    }
    let records = collector.records();
    assert_eq!(distinct(records.clone()).len(), 20_001);
    let of_binary = |record: &&Record| record.attribute("container.name") == "binary";
    let binary = records.iter().find(of_binary).expect("the binary line");
    assert_eq!(binary.line(), b"\xff\xfe \x00");
    assert!(binary.is_bytes());
    assert_eq!(binary.attribute("log.iostream"), "stderr");
    assert_eq!(binary.attribute("container.id").len(), 64);
    assert_eq!(binary.attribute("service.name"), "binary");
    assert!(binary.nanos > 0 && binary.observed == binary.nanos && !binary.attribute("host.name").is_empty());
}

#[test]
fn whatever_the_collector_does_meanwhile_every_line_arrives_and_in_order() {
    needs!(requirements::engine());
    let (engine, collector) = (Engine::start(), Collector::start());
    write(&engine, "web", 40_000, "0.2");
    let headers = tempfile::NamedTempFile::new().expect("a file");
    fs::write(headers.path(), "X-Tenant: shop\nAuthorization: Bearer wr0ng\n").expect("write the headers");
    let file = format!(", headers_file: \"{}\"", headers.path().display());
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&collector.url(), &file))
        .start();
    agent.wait_ready();
    let second = Duration::from_secs(1);
    for fault in [
        Fault::Down,
        Fault::Slow(second),
        Fault::Answer(429, "Retry-After: 1"),
        Fault::Answer(500, ""),
        Fault::Answer(503, ""),
        Fault::CutAnswer,
        Fault::CutBody,
        Fault::Largest(2_000),
        Fault::Only("Bearer r1ght".to_owned()),
    ] {
        collector.set(fault.clone());
        std::thread::sleep(2 * second);
        if matches!(fault, Fault::Only(_)) {
            // A changed file ends it without a restart.
            wait::until("the sink to be held", PATIENCE, || {
                (count(&agent, "sink_held", "unauthorized") == 1.0).then_some(())
            });
            fs::write(headers.path(), "X-Tenant: shop\nAuthorization: Bearer r1ght\n").expect("write the headers");
        } else {
            collector.set(Fault::None);
        }
    }
    wait::until("40,000 records in the collector", PATIENCE, || {
        (distinct(collector.records()).len() >= 40_000).then_some(())
    });
    agent.wait_ready();
    assert_eq!(count(&agent, "lines_dropped_total", ""), 0.0);
    assert_eq!(count(&agent, "delivery_drift", ""), 0.0);
    agent.stop();
    let log = agent.stderr();
    assert!(!log.contains("r1ght") && !log.contains("wr0ng"), "a secret is shown");
    assert_eq!(lines(&distinct(collector.records())), expected(40_000));
    assert_eq!(collector.complaints(), Vec::<String>::new());
}

#[test]
fn what_the_collector_rejects_in_part_is_told_and_counted_and_not_sent_again() {
    needs!(requirements::engine());
    let (engine, collector) = (Engine::start(), Collector::start());
    collector.set(Fault::Reject("700".to_owned()));
    write(&engine, "web", 1_000, "0.1");
    let mut agent = Launch::on(engine.socket())
        .more_sinks(&sink(&collector.url(), ""))
        .start();
    wait_records(&collector, 999);
    wait::until("the count", PATIENCE, || {
        (count(&agent, "lines_dropped_total", "rejected") == 1.0).then_some(())
    });
    assert_eq!(count(&agent, "lines_delivered_total", ""), 999.0);
    assert_eq!(count(&agent, "delivery_drift", ""), 0.0);
    assert_eq!(count(&agent, "sink_retries_total", ""), 0.0);
    agent.stop();
    assert!(
        agent.stderr().contains("not that one"),
        "what the collector says is not told"
    );
    assert_eq!(collector.count(), 999);
}
