//! What no single value shows: limits, and values that contradict each other.

use std::path::Path;
use std::time::Duration;

use super::load::{Place, Problem};
use super::{Address, Config, Scheme, Selector, Sink, TlsMode, expression, pattern};

/// No duration here has a use beyond it, and a clock cannot count on for ever.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Everything that is wrong with `config`; `place` tells where a key was said.
pub fn contradictions(config: &Config, place: impl Fn(&str) -> Place) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut require = |holds: bool, key: &'static str, message: &str| {
        if !holds {
            problems.push(Problem {
                place: place(key),
                key,
                message: message.to_owned(),
            });
        }
    };
    let docker = &config.docker;
    let tls = &docker.tls;
    let on = tls.mode == TlsMode::On;
    match docker.host.parse::<Address>() {
        Err(error) => require(false, "docker.host", &error.to_string()),
        Ok(Address::Unix(_)) => require(!on, "docker.tls.mode", "must not be on: a unix socket has no TLS"),
        Ok(Address::Tcp { scheme, .. }) => {
            require(
                !(on && scheme == Scheme::Http),
                "docker.host",
                "must not be http://, which is without TLS, where DOCKER_TLS_VERIFY or docker.tls.mode asks for it",
            );
            require(
                on || scheme != Scheme::Https,
                "docker.tls.mode",
                "must not be off: https:// is with TLS",
            );
        }
    }
    let named = |path: &Path| !path.as_os_str().is_empty();
    require(
        !on || named(&tls.ca),
        "docker.tls.ca",
        "must name the CA's certificate, or DOCKER_CERT_PATH the folder of ca.pem",
    );
    require(
        named(&tls.cert) || !named(&tls.key),
        "docker.tls.cert",
        "must name the certificate that docker.tls.key is of",
    );
    require(
        named(&tls.key) || !named(&tls.cert),
        "docker.tls.key",
        "must name the key of docker.tls.cert",
    );
    for (key, value) in [
        ("docker.api.connect_timeout", docker.api.connect_timeout),
        ("docker.api.head_timeout", docker.api.head_timeout),
        ("docker.api.body_timeout", docker.api.body_timeout),
        ("docker.pool.idle_timeout", docker.pool.idle_timeout),
        ("docker.pool.max_age", docker.pool.max_age),
        ("docker.pool.wait_timeout", docker.pool.wait_timeout),
        ("docker.retry.initial_delay", docker.retry.initial_delay),
        (
            "docker.circuit_breaker.failure_window",
            docker.circuit_breaker.failure_window,
        ),
        ("docker.circuit_breaker.open_time", docker.circuit_breaker.open_time),
        ("docker.health.interval", docker.health.interval),
        ("docker.health.timeout", docker.health.timeout),
        ("docker.health.slow_list", docker.health.slow_list),
        ("docker.rate_limit.max_wait", docker.rate_limit.max_wait),
        ("capture.rotation.interval", config.capture.rotation.interval),
        ("capture.rotation.idle_interval", config.capture.rotation.idle_interval),
        ("capture.silence.probe_after", config.capture.silence.probe_after),
        ("capture.silence.max_interval", config.capture.silence.max_interval),
        ("delivery.flush_interval", config.delivery.flush_interval),
        ("kernel.leaks.scan_interval", config.kernel.leaks.scan_interval),
        ("docker.retry.max_delay", config.docker.retry.max_delay),
        ("kernel.leaks.orphan_after", config.kernel.leaks.orphan_after),
        ("kernel.leaks.half_closed_after", config.kernel.leaks.half_closed_after),
        ("shutdown.deadline", config.shutdown.deadline),
    ] {
        require(value > Duration::ZERO, key, "must be longer than 0s");
        require(value <= LONGEST, key, "must be at most 365days");
    }
    require(docker.pool.max_size >= 1, "docker.pool.max_size", "must be at least 1");
    require(
        docker.pool.max_idle <= docker.pool.max_size,
        "docker.pool.max_idle",
        "must not be more than docker.pool.max_size",
    );
    require(
        docker.pool.min_size <= docker.pool.max_idle,
        "docker.pool.min_size",
        "must not be more than docker.pool.max_idle",
    );
    require(
        docker.pool.target_utilization > 0.0 && docker.pool.target_utilization <= 1.0,
        "docker.pool.target_utilization",
        "must be above 0 and at most 1",
    );
    require(
        (1.0..=10.0).contains(&docker.pool.growth_factor),
        "docker.pool.growth_factor",
        "must be from 1 to 10",
    );
    require(
        (1..=100).contains(&docker.health.unhealthy_after),
        "docker.health.unhealthy_after",
        "must be from 1 to 100",
    );
    let weights = &docker.health.weights;
    let weights = [weights.ping, weights.list, weights.events];
    require(
        weights.iter().all(|weight| (0.0..=1e6).contains(weight)) && weights.iter().sum::<f64>() > 0.0,
        "docker.health.weights",
        "must be from 0 to 1000000, and not all 0",
    );
    require(
        (0.0..=1.0).contains(&docker.health.ready_at),
        "docker.health.ready_at",
        "must be from 0 to 1",
    );
    require(
        docker.retry.initial_delay <= docker.retry.max_delay,
        "docker.retry.initial_delay",
        "must not be longer than docker.retry.max_delay",
    );
    for (key, value, most) in [
        ("docker.retry.max_attempts", docker.retry.max_attempts, 100),
        (
            "docker.circuit_breaker.failure_threshold",
            docker.circuit_breaker.failure_threshold,
            1000,
        ),
        (
            "docker.circuit_breaker.half_open_calls",
            docker.circuit_breaker.half_open_calls,
            1000,
        ),
        (
            "docker.circuit_breaker.success_threshold",
            docker.circuit_breaker.success_threshold,
            1000,
        ),
    ] {
        require((1..=most).contains(&value), key, &format!("must be from 1 to {most}"));
    }
    require(
        docker.rate_limit.requests_per_second.get() <= 1_000_000,
        "docker.rate_limit.requests_per_second",
        "must be at most 1000000",
    );
    let capture = &config.capture;
    for (key, selectors) in [
        ("capture.include", &capture.include),
        ("capture.exclude", &capture.exclude),
    ] {
        let says_something = |selector: &Selector| *selector != Selector::default();
        require(
            selectors.iter().all(says_something),
            key,
            "must give each entry at least one of name, image, label, project",
        );
        for error in selectors
            .iter()
            .flat_map(Selector::patterns)
            .filter_map(|text| pattern(text).err())
        {
            require(false, key, &error.to_string());
        }
    }
    for error in capture.labels.iter().filter_map(|text| pattern(text).err()) {
        require(false, "capture.labels", &error.to_string());
    }
    let multiline = &capture.multiline;
    for rule in &multiline.rules {
        let patterns = rule.containers.patterns().filter_map(|text| pattern(text).err());
        for error in patterns.chain(expression(&rule.start).err()) {
            require(false, "capture.multiline.rules", &error.to_string());
        }
    }
    require(
        (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&multiline.max_delay),
        "capture.multiline.max_delay",
        "must be from 1ms to 60s",
    );
    require(
        (1 << 10..=64 << 20).contains(&multiline.max_bytes.as_u64()),
        "capture.multiline.max_bytes",
        "must be from 1KiB to 64MiB",
    );
    require(
        (2..=10_000).contains(&multiline.max_lines),
        "capture.multiline.max_lines",
        "must be from 2 to 10000",
    );
    require(
        capture.rate_limit.burst <= Duration::from_secs(3600),
        "capture.rate_limit.burst",
        "must be at most 1h",
    );
    require(
        (1..=10_000).contains(&capture.streams.max_concurrent),
        "capture.streams.max_concurrent",
        "must be from 1 to 10000",
    );
    require(
        capture.rotation.interval >= Duration::from_millis(100),
        "capture.rotation.interval",
        "must be at least 100ms",
    );
    require(
        capture.silence.probe_after >= Duration::from_millis(100),
        "capture.silence.probe_after",
        "must be at least 100ms",
    );
    require(
        capture.silence.max_interval >= capture.silence.probe_after,
        "capture.silence.max_interval",
        "must not be shorter than capture.silence.probe_after",
    );
    require(
        capture.rotation.max_concurrent >= 1,
        "capture.rotation.max_concurrent",
        "must be at least 1",
    );
    require(
        (1024..=1 << 28).contains(&capture.max_line_bytes.as_u64()),
        "capture.max_line_bytes",
        "must be from 1KiB to 256MiB",
    );
    require(
        capture.coalesce <= Duration::from_secs(1),
        "capture.coalesce",
        "must be at most 1s",
    );
    require(
        (64..=1 << 20).contains(&config.kernel.max_connections),
        "kernel.max_connections",
        "must be from 64 to 1048576",
    );
    let delivery = &config.delivery;
    require(
        (4 << 10..=64 << 20).contains(&delivery.batch_bytes.as_u64()),
        "delivery.batch_bytes",
        "must be from 4KiB to 64MiB",
    );
    require(
        (2..=1024).contains(&delivery.max_batches),
        "delivery.max_batches",
        "must be from 2 to 1024",
    );
    require(!config.sinks.is_empty(), "sinks", "must name at least one sink");
    let stdouts = config.sinks.iter().filter(|s| matches!(s, Sink::Stdout { .. }));
    require(stdouts.count() <= 1, "sinks", "must not name stdout twice");
    let mut paths: Vec<_> = config
        .sinks
        .iter()
        .filter_map(|sink| match sink {
            Sink::File { path, .. } => Some(path),
            Sink::Stdout { .. } => None,
        })
        .collect();
    let files = paths.len();
    paths.sort();
    paths.dedup();
    require(paths.len() == files, "sinks", "must not name one file twice");
    let mut names = Sink::names(&config.sinks);
    let sinks = names.len();
    let is_name = |name: &String| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        (1..=64).contains(&name.len()) && name.bytes().all(known)
    };
    require(
        names.iter().all(is_name),
        "sinks",
        "must have names of at most 64 letters, digits, dots, dashes and underscores",
    );
    names.sort();
    names.dedup();
    require(names.len() == sinks, "sinks", "must not have one name twice");
    problems
}
