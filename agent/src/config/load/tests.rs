use super::super::{KernelMode, Sink, TlsMode};
use super::*;

fn load(yaml: &str, overrides: &[&str]) -> Result<Config, String> {
    let dir = std::env::temp_dir().join(format!("lc-config-{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("c.yaml");
    std::fs::write(&path, yaml).unwrap();
    let sources = Sources {
        file: Some(path),
        overrides: overrides.iter().map(|&s| s.to_owned()).collect(),
    };
    let loaded = sources.load(|_| Ok(()));
    std::fs::remove_dir_all(&dir).unwrap();
    loaded
        .map(|(config, ())| config)
        .map_err(|error| error.to_string().replace(dir.to_str().unwrap(), ""))
}

#[test]
fn nothing_said_is_the_default() {
    let config = load("# only a comment\n", &["docker.host=unix:///x"]).unwrap();
    assert_eq!(config.capture, Config::default().capture);
    assert_eq!(config.docker.host, "unix:///x");
    assert_eq!(config.host, "");
}

#[test]
fn a_bad_file_is_told_with_its_line() {
    let error = load("capture:\n  rotation:\n    intervall: 5m\n", &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:3:"), "{error}");
    assert!(error.contains("capture.rotation.intervall: "), "{error}");

    let error = load("capture:\n  rotation:\n    interval: soon\n", &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:3:"), "{error}");
    assert!(error.contains("capture.rotation.interval: "), "{error}");

    let error = load("sinks:\n- type: stdout\n- type: kafka\n", &[]).unwrap_err();
    assert!(error.contains("kafka"), "{error}");
    assert!(error.starts_with("/c.yaml:"), "{error}");

    let error = load("capture: [\n", &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:"), "{error}");
}

#[test]
fn a_contradiction_is_told_with_its_line_and_key() {
    let yaml = "docker:\n  pool:\n    max_size: 2\n    max_idle: 3\n";
    let error = load(yaml, &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:4:"), "{error}");
    assert!(error.contains("docker.pool.max_idle"), "{error}");

    let yaml = "docker:\n  circuit_breaker:\n    half_open_calls: 0\n  rate_limit:\n    max_wait: 0s\n";
    let error = load(yaml, &[]).unwrap_err();
    assert!(
        error.contains("/c.yaml:3:5: docker.circuit_breaker.half_open_calls: must be from 1"),
        "{error}"
    );
    assert!(
        error.contains("/c.yaml:5:5: docker.rate_limit.max_wait: must be longer"),
        "{error}"
    );

    let error = load("docker:\n  rate_limit:\n    burst: 0\n", &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:3:"), "{error}");

    let yaml = "capture:\n  exclude:\n    - name: 'regex:('\n";
    let error = load(yaml, &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:2:"), "{error}");
    assert!(
        error.contains("capture.exclude") && error.contains("regex:("),
        "{error}"
    );
}

#[test]
fn an_address_and_tls_that_contradict_each_other_are_refused() {
    for (yaml, told) in [
        (
            "docker: {host: 'http://h', tls: {mode: on, ca: /c}}",
            "docker.host: must not be http://",
        ),
        (
            "docker: {host: 'https://h', tls: {mode: off}}",
            "docker.tls.mode: must not be off",
        ),
        (
            "docker: {host: 'unix:///s', tls: {mode: on, ca: /c}}",
            "docker.tls.mode: must not be on",
        ),
        (
            "docker: {host: 'https://h', tls: {ca: /c, key: /k}}",
            "docker.tls.cert: must name",
        ),
        (
            "docker: {host: 'https://h', tls: {ca: /c, cert: /c}}",
            "docker.tls.key: must name",
        ),
        (
            "docker: {host: 'tcp://u:secret@h'}",
            "docker.host: must not have a user name",
        ),
    ] {
        let error = load(yaml, &[]).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
    for (said, told) in [
        (
            "docker.host=tcp://u:secret@h",
            "docker.host=tcp://…@h: docker.host: must",
        ),
        (
            "docker.host=tcp://u:sec@ret@h",
            "docker.host=tcp://…@h: docker.host: must",
        ),
        ("docker.host=u:secret@h:1", "docker.host=…@h:1: docker.host: must"),
        ("docker.host=tcp:/u:secret@h", "docker.host=…@h: docker.host: must"),
    ] {
        let error = load("", &[said]).unwrap_err();
        assert!(error.contains(told), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn overrides_win_and_are_checked() {
    let yaml = "capture:\n  rotation:\n    interval: 5m\n";
    let config = load(yaml, &["capture.rotation.interval=7s", "host=12"]).unwrap();
    assert_eq!(config.capture.rotation.interval.as_secs(), 7);
    assert_eq!(config.host, "12");

    let config = load("capture: {max_line_bytes: 1500}", &["host=x"]).unwrap();
    assert_eq!(config.capture.max_line_bytes.as_u64(), 1500);

    let config = load("kernel: {mode: off}", &[]).unwrap();
    assert_eq!(config.kernel.mode, KernelMode::Off);
    let config = load("", &["kernel.mode=off"]).unwrap();
    assert_eq!(config.kernel.mode, KernelMode::Off);

    let sinks = load("", &["sinks=[{type: file, path: /x}]"]).unwrap().sinks;
    let file = Sink::File {
        name: None,
        path: "/x".into(),
    };
    assert_eq!(sinks, [file]);

    for (set, part) in [
        ("capture.rotations.interval=7s", "unknown key \"rotations\""),
        (
            "capture.rotation.interval=never",
            "--set capture.rotation.interval=never",
        ),
        ("host.name=x", "below a value"),
        ("host", "expected key=value"),
        (
            "capture.start=yesterday",
            "`yesterday` is not beginning, end, or an age",
        ),
        ("capture.source=disk", "unknown variant `disk`"),
        (
            "capture.streams.max_concurrent=0",
            "--set capture.streams.max_concurrent=0",
        ),
    ] {
        let error = load("", &[set]).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn on_and_off_are_taken_from_writers_of_yaml_1_1() {
    let config = load(
        "kernel: {mode: false, debug: on}\ndocker: {host: 'https://h', tls: {mode: true, ca: /c}}",
        &[],
    );
    let config = config.unwrap();
    assert_eq!((config.kernel.mode, config.kernel.debug), (KernelMode::Off, true));
    assert_eq!(config.docker.tls.mode, TlsMode::On);

    let config = load("", &["kernel.mode=false", "kernel.debug=on", "kernel.heal=true"]).unwrap();
    assert_eq!(
        (config.kernel.mode, config.kernel.debug, config.kernel.heal),
        (KernelMode::Off, true, true)
    );

    let error = load("kernel:\n  mode: true\n", &[]).unwrap_err();
    assert!(error.starts_with("/c.yaml:2:") && error.contains("required"), "{error}");
}

#[test]
fn every_section_finds_what_is_wrong_with_its_own_keys() {
    for (set, told) in [
        ("docker.api.connect_timeout=0s", "must be longer than 0s"),
        ("docker.api.head_timeout=366days", "must be at most 365days"),
        ("docker.api.body_timeout=0s", "must be longer"),
        ("docker.pool.min_size=3", "must not be more than docker.pool.max_idle"),
        ("docker.pool.max_size=0", "must be at least 1"),
        ("docker.pool.max_idle=5", "must not be more than docker.pool.max_size"),
        ("docker.pool.idle_timeout=0s", "must be longer"),
        ("docker.pool.max_age=0s", "must be longer"),
        ("docker.pool.wait_timeout=0s", "must be longer"),
        ("docker.pool.target_utilization=0", "must be above 0 and at most 1"),
        ("docker.pool.growth_factor=0.9", "must be from 1 to 10"),
        (
            "docker.retry.initial_delay=31s",
            "must not be longer than docker.retry.max_delay",
        ),
        ("docker.retry.max_delay=0s", "must be longer"),
        ("docker.retry.max_attempts=101", "must be from 1 to 100"),
        ("docker.health.interval=0s", "must be longer"),
        ("docker.health.timeout=0s", "must be longer"),
        ("docker.health.unhealthy_after=0", "must be from 1 to 100"),
        ("docker.health.slow_list=0s", "must be longer"),
        ("docker.health.weights={ping: 0, list: 0, events: 0}", "not all 0"),
        ("docker.health.ready_at=1.1", "must be from 0 to 1"),
        ("docker.circuit_breaker.failure_threshold=0", "must be from 1 to 1000"),
        ("docker.circuit_breaker.failure_window=0s", "must be longer"),
        ("docker.circuit_breaker.open_time=0s", "must be longer"),
        ("docker.circuit_breaker.half_open_calls=0", "must be from 1 to 1000"),
        ("docker.circuit_breaker.success_threshold=0", "must be from 1 to 1000"),
        (
            "docker.rate_limit.requests_per_second=1000001",
            "must be at most 1000000",
        ),
        ("docker.rate_limit.max_wait=0s", "must be longer"),
        ("capture.start=0s", "must be longer than 0s"),
        ("capture.files.root=docker", "must be an absolute path"),
        ("capture.include=[{}]", "must give each entry"),
        ("capture.exclude=[{name: 'regex:('}]", "is not a pattern"),
        ("capture.labels=['regex:(']", "is not a pattern"),
        ("capture.streams.max_concurrent=0", "must be from 1 to 10000"),
        ("capture.rotation.interval=99ms", "must be at least 100ms"),
        ("capture.rotation.idle_interval=0s", "must be longer"),
        ("capture.rotation.max_concurrent=0", "must be at least 1"),
        ("capture.silence.probe_after=99ms", "must be at least 100ms"),
        (
            "capture.silence.max_interval=4s",
            "must not be shorter than capture.silence.probe_after",
        ),
        ("capture.multiline.rules=[{start: '('}]", "is not a pattern"),
        ("capture.multiline.max_delay=61s", "must be from 1ms to 60s"),
        ("capture.multiline.max_bytes=1023", "must be from 1KiB to 64MiB"),
        ("capture.multiline.max_lines=1", "must be from 2 to 10000"),
        ("capture.rate_limit.burst=61m", "must be at most 1h"),
        ("capture.max_line_bytes=1023", "must be from 1KiB to 256MiB"),
        ("capture.coalesce=2s", "must be at most 1s"),
        ("kernel.max_connections=63", "must be from 64 to 1048576"),
        ("kernel.leaks.scan_interval=0s", "must be longer"),
        ("kernel.leaks.orphan_after=0s", "must be longer"),
        ("kernel.leaks.half_closed_after=0s", "must be longer"),
        ("delivery.batch_bytes=4095", "must be from 4KiB to 64MiB"),
        ("delivery.flush_interval=0s", "must be longer"),
        ("delivery.max_batches=1", "must be from 2 to 1024"),
        ("sinks=[]", "must name at least one sink"),
        ("sinks=[{type: stdout}, {type: stdout}]", "must not name stdout twice"),
        (
            "sinks=[{type: stdout, name: a}, {type: file, name: a, path: /x}]",
            "must not call two sinks a",
        ),
        (
            "sinks=[{type: stdout, name: file}, {type: file, path: /x}]",
            "must not call two sinks file",
        ),
        (
            "sinks=[{type: stdout, name: \"\"}]",
            "must have names of 1 to 64 letters",
        ),
        (
            "sinks=[{type: stdout, name: a/b}]",
            "must have names of 1 to 64 letters",
        ),
        (
            "sinks=[{type: file, path: /x}, {type: file, path: /x}]",
            "must not name one file twice",
        ),
        ("shutdown.deadline=0s", "must be longer"),
    ] {
        let error = load("docker: {host: 'unix:///x'}", &[set]).unwrap_err();
        let (key, _) = set.split_once('=').unwrap();
        let place = format!("--set {set}: {key}: ");
        assert!(
            error.starts_with(&place) && error.contains(told),
            "{told} is not in: {error}"
        );
    }
}

#[test]
fn every_sink_has_a_name_of_its_own() {
    let sinks =
        "sinks=[{type: file, path: /a}, {type: stdout}, {type: file, name: archive, path: /b}, {type: file, path: /c}]";
    let sinks = load("", &[sinks]).unwrap().sinks;
    assert_eq!(Sink::names(&sinks), ["file", "stdout", "archive", "file-2"]);
}
