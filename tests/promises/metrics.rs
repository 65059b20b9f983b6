//! `/metrics` is what the contract says.

use std::io::Write;
use std::process::{Command, Stdio};

use integration::admin::Connections;
use integration::agent::{self, Launch};
use integration::engine::Engine;
use integration::metrics::Metrics;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

/// Name, type, labels of what is promised.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("docker_http_idle_connections", "gauge", &[]),
    ("docker_http_active_connections", "gauge", &[]),
    ("docker_http_requests_total", "counter", &["endpoint", "status"]),
    ("docker_http_errors_total", "counter", &["endpoint", "reason"]),
    ("docker_pool_connections", "gauge", &["state"]),
    ("docker_pool_utilization_ratio", "gauge", &[]),
    ("docker_pool_wait_duration_seconds", "histogram", &[]),
    ("docker_connection_duration_seconds", "histogram", &[]),
    ("docker_health_check_duration_seconds", "histogram", &[]),
    ("docker_operation_duration_seconds", "histogram", &["operation"]),
    ("docker_connection_errors_total", "counter", &[]),
    ("docker_health_check_failures_total", "counter", &[]),
    ("docker_recovery_operations_total", "counter", &[]),
    ("docker_circuit_breaker_state", "gauge", &["state"]),
    ("container_streams_active", "gauge", &[]),
    ("stream_pool_utilization_ratio", "gauge", &[]),
    ("stream_rotations_total", "counter", &["container", "verified"]),
    ("stream_age_seconds", "histogram", &[]),
    ("stream_errors_total", "counter", &["error_type"]),
    ("stream_lag_seconds", "gauge", &["container"]),
    ("lines_read_total", "counter", &["container", "stream"]),
    ("bytes_read_total", "counter", &["container", "stream"]),
    ("lines_deduplicated_total", "counter", &[]),
    ("lines_truncated_total", "counter", &[]),
    ("gaps_total", "counter", &["container"]),
    ("lines_delivered_total", "counter", &["sink"]),
    ("delivery_errors_total", "counter", &["sink", "reason"]),
    ("lines_dropped_total", "counter", &["sink", "reason"]),
    ("capture_source", "gauge", &["source"]),
    ("files_held_deleted_bytes", "gauge", &[]),
    ("sink_requests_total", "counter", &["sink", "status"]),
    ("sink_request_duration_seconds", "histogram", &["sink"]),
    ("sink_retries_total", "counter", &["sink"]),
    ("lines_redelivered_total", "counter", &["sink"]),
    ("sink_lag_seconds", "gauge", &["sink"]),
    ("sink_waiting_lines", "gauge", &["sink"]),
    ("sink_held", "gauge", &["sink", "reason"]),
    ("spool_bytes", "gauge", &[]),
    ("spool_oldest_seconds", "gauge", &[]),
    ("spool_damaged_total", "counter", &[]),
    ("dead_letters_total", "counter", &["sink", "reason"]),
    ("delivery_drift", "gauge", &["sink"]),
    ("config_last_reload_successful", "gauge", &[]),
    ("config_last_reload_success_timestamp_seconds", "gauge", &[]),
    ("kernel_missed_events_total", "counter", &["program"]),
    ("dead_letter_records", "gauge", &[]),
    ("kernel_up", "gauge", &["tier"]),
    ("kernel_connections", "gauge", &["state", "peer"]),
    ("kernel_connections_opened_total", "counter", &["peer"]),
    ("kernel_connections_closed_total", "counter", &["peer", "after_peer"]),
    ("kernel_connect_errors_total", "counter", &["errno"]),
    ("kernel_connection_age_seconds", "histogram", &[]),
    ("kernel_close_wait_seconds", "histogram", &[]),
    ("kernel_fds", "gauge", &["kind"]),
    ("kernel_fds_opened_total", "counter", &["kind"]),
    ("kernel_fds_closed_total", "counter", &["kind"]),
    ("kernel_drift", "gauge", &["witness"]),
    ("kernel_map_entries", "gauge", &["map"]),
    ("kernel_map_capacity", "gauge", &["map"]),
    ("kernel_map_failures_total", "counter", &["map"]),
    ("leaked_connections", "gauge", &["reason"]),
    ("leaks_detected_total", "counter", &["reason"]),
    ("tasks", "gauge", &[]),
    ("build_info", "gauge", &["version", "revision"]),
];

/// What must be there after a container was captured and its stream rotated.
const PRESENT: &[&str] = &[
    "docker_http_idle_connections",
    "docker_http_active_connections",
    "docker_http_requests_total",
    "docker_pool_connections",
    "docker_pool_utilization_ratio",
    "docker_pool_wait_duration_seconds",
    "docker_connection_duration_seconds",
    "docker_health_check_duration_seconds",
    "docker_operation_duration_seconds",
    "docker_connection_errors_total",
    "docker_health_check_failures_total",
    "docker_recovery_operations_total",
    "docker_circuit_breaker_state",
    "container_streams_active",
    "stream_rotations_total",
    "stream_age_seconds",
    "lines_read_total",
    "bytes_read_total",
    "lines_delivered_total",
    "kernel_up",
];

#[test]
fn the_metrics_are_those_promised_and_promtool_has_nothing_to_say() {
    needs!(requirements::engine(), requirements::program("promtool"));
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).rotation("2s").start();
    agent.wait_ready();
    Writer::new("web", Kind::Mixed, 2_000).start(&engine);
    agent.wait_records(500, PATIENCE);

    let page = agent.admin.get("/metrics").expect("/metrics");
    assert_eq!(page.status, 200);
    assert_eq!(promtool(&page.body), "", "of\n{}", page.body);
    let metrics = Metrics::parse(&page.body);
    assert_promised(&metrics);
    for name in PRESENT {
        assert!(metrics.types.contains_key(&format!("log_capturer_{name}")), "no {name}");
    }
    for name in [
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.types.contains_key(name), "no {name}");
    }
    assert!(metrics.sum("lines_read_total", &[("container", "web"), ("stream", "stderr")]) >= Some(100.0));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(agent.admin.get(path).expect(path).status, 200, "{path}");
    }

    engine.docker(&["rm", "--force", "web"]).expect("remove the container");
    integration::wait::until("the container's series to go", PATIENCE, || {
        let body = agent.admin.get("/metrics").ok()?.body;
        (!body.contains("container=\"web\"")).then_some(())
    });
    agent.stop();
}

#[test]
fn the_command_connections_prints_what_the_page_shows() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).start();
    agent.wait_ready();
    Writer::new("web", Kind::Short, 10_000).start(&engine);
    agent.wait_records(100, PATIENCE);
    let printed = |arguments: &[&str]| {
        let address = format!("http://{}", agent.admin.address());
        let mut command = agent::command(&agent::binary());
        let output = command
            .args(["connections", "--admin", &address])
            .args(arguments)
            .output();
        let output = output.expect("run the command");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    // Control requests have an idle connection that may end in between; the container's log has not.
    let page = agent.admin.connections().expect("/connections");
    let log = page
        .iter()
        .find(|row| row.purpose.as_deref() == Some("logs"))
        .expect("a log's connection");
    let json: Connections = serde_json::from_str(&printed(&["--json"])).expect("the page's JSON");
    assert!(json.connections.iter().any(|row| row.inode == log.inode), "{json:?}");
    let table = printed(&[]);
    assert!(
        table
            .lines()
            .any(|line| line.contains(&log.inode.to_string()) && line.contains("logs")),
        "{table}"
    );
    agent.stop();
}

fn promtool(page: &str) -> String {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run promtool");
    promtool
        .stdin
        .take()
        .expect("its input")
        .write_all(page.as_bytes())
        .expect("hand over the page");
    let output = promtool.wait_with_output().expect("promtool's verdict");
    let said = [output.stdout, output.stderr].concat();
    format!(
        "{}{}",
        String::from_utf8_lossy(&said),
        if output.status.success() { "" } else { "(failed)" }
    )
}

/// Every family is the contract's, with its type and labels, or is documented.
fn assert_promised(metrics: &Metrics) {
    let documented = documentation();
    for (family, kind) in &metrics.types {
        let Some(name) = family.strip_prefix("log_capturer_") else {
            assert!(family.starts_with("process_"), "{family} bears no prefix");
            continue;
        };
        let Some((_, promised, labels)) = PROMISED.iter().find(|(promised, ..)| *promised == name) else {
            assert!(
                documented.contains(family),
                "{family} is neither promised nor documented"
            );
            continue;
        };
        assert_eq!(kind, promised, "type of {family}");
        let suffixes: &[&str] = if kind == "histogram" {
            &["_bucket", "_sum", "_count"]
        } else {
            &[""]
        };
        let series = |sample: &&integration::metrics::Sample| {
            suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}"))
        };
        for sample in metrics.samples.iter().filter(series) {
            let mut bears: Vec<_> = sample
                .labels
                .keys()
                .map(String::as_str)
                .filter(|it| *it != "le")
                .collect();
            let mut wanted = labels.to_vec();
            bears.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(bears, wanted, "labels of {family}");
        }
    }
}

fn documentation() -> String {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace");
    std::fs::read_to_string(root.join("docs/reference/metrics.md")).expect("the reference")
}
