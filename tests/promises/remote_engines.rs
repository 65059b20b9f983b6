//! An engine on TCP, in clear and by TLS, followed as one with a socket file is.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use integration::agent::{self, Agent, Launch};
use integration::control::{self, BUSY, Control};
use integration::engine::Engine;
use integration::ledger::{self, Comparison};
use integration::lines::Captured;
use integration::shim::Shim;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::witness::{self, Listener};
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait};

use crate::certificates::{Certificates, Validity};

const SECOND: Duration = Duration::from_secs(1);

/// As in `--tlsverify` of an engine's documentation.
fn start_with_tls(folder: &Path) -> (Engine, SocketAddr) {
    let file = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
    let arguments = [
        "--tlsverify".to_owned(),
        file("tlscacert", "ca.pem"),
        file("tlscert", "cert.pem"),
        file("tlskey", "key.pem"),
    ];
    Engine::start_on_tcp(&arguments.each_ref().map(String::as_str))
}

/// In clear, and said to be meant so: else the engine waits before it listens.
fn start_in_clear() -> (Engine, SocketAddr) {
    Engine::start_on_tcp(&["--tls=false"])
}

/// As it is said to the docker client.
fn by_environment(address: SocketAddr, folder: &Path) -> Launch {
    Launch::at("")
        .environment("DOCKER_HOST", format!("tcp://{address}"))
        .environment("DOCKER_TLS_VERIFY", "1")
        .environment("DOCKER_CERT_PATH", folder)
}

fn tls_keys(folder: &Path) -> [(&'static str, std::path::PathBuf); 3] {
    [
        ("LOG_CAPTURER_DOCKER_TLS_CA", folder.join("ca.pem")),
        ("LOG_CAPTURER_DOCKER_TLS_CERT", folder.join("cert.pem")),
        ("LOG_CAPTURER_DOCKER_TLS_KEY", folder.join("key.pem")),
    ]
}

/// Every line exactly once while the streams are rotated every second, and each connection known to the kernel, to the
/// register, to the pool and to `ss`.
fn assert_followed(launch: Launch, engine: &Engine, address: SocketAddr) {
    let seconds = size("REMOTE_SECONDS", 10) as usize;
    let writers = [
        Writer::new("short", Kind::Short, seconds * 500).pace(50, 0.1),
        Writer::new("mixed", Kind::Mixed, seconds * 200).pace(20, 0.1),
        Writer::new("tty", Kind::Tty, seconds * 100).pace(10, 0.1),
        Writer::new("long", Kind::Long, seconds * 4).pace(1, 0.25),
        Writer::new("unterminated", Kind::Unterminated, seconds * 50).pace(5, 0.1),
    ];
    let mut agent = launch
        .rotation("1s")
        .kernel("required")
        .environment("LOG_CAPTURER_CAPTURE_ROTATION_IDLE_INTERVAL", "1s")
        .start();
    agent.wait_ready();
    for writer in &writers {
        writer.start(engine);
    }
    let control = Control::start();
    // For half as long as they write at least, however long a look takes.
    let start = std::time::Instant::now();
    while start.elapsed() < SECOND * seconds as u32 / 2 {
        wait::until("the ledger and ss to agree", PATIENCE, || {
            match ledger::compare(&agent, &address) {
                Comparison::Agrees { connections } => (connections > writers.len()).then_some(()),
                Comparison::Between | Comparison::Differs(_) | Comparison::Restless => None,
            }
        });
        let metrics = agent.admin.metrics().expect("/metrics");
        assert_eq!(ledger::conserved(&metrics), Ok(1), "the engine is the only peer");
        sleep(SECOND / 2);
    }
    assert_rows(&agent, address, writers.len());
    for writer in &writers {
        engine.wait(&writer.name);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    let metrics = agent.admin.metrics().expect("/metrics");
    let sum = |name, labels: &[_]| metrics.sum(name, labels).unwrap_or(0.0);
    for doubt in ["false", "unknown"] {
        assert_eq!(sum("stream_rotations_total", &[("verified", doubt)]), 0.0, "{doubt}");
    }
    let rotations = sum("stream_rotations_total", &[("verified", "true")]);
    let prices = control.prices();
    assert!(
        rotations >= prices.thinned((2 * seconds) as f64),
        "{rotations}: {prices:?}"
    );
    assert_eq!(sum("gaps_total", &[]), 0.0);
    assert_eq!(sum("docker_connection_errors_total", &[]), 0.0);
    ledger::assert_no_connection_left_over(&agent, &address, 0);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
    assert_eq!(captured.records, total);
    assert_ended_with_none(&agent);
    assert!(address.connections(agent.pid()).inodes.is_empty());
}

/// What `/connections` says of each, and that the pool believes in as many.
fn assert_rows(agent: &Agent, address: SocketAddr, logs: usize) {
    wait::until("a quiet moment", PATIENCE, || {
        let before = agent.admin.connections().ok()?;
        let metrics = agent.admin.metrics().ok()?;
        let rows = agent.admin.connections().ok()?;
        let inodes = |rows: &[integration::admin::Connection]| {
            let mut inodes: Vec<_> = rows.iter().map(|row| row.inode).collect();
            inodes.sort_unstable();
            inodes
        };
        if inodes(&before) != inodes(&rows) {
            return None;
        }
        let peer = address.to_string();
        let established = [("peer", peer.as_str()), ("state", "established")];
        assert_eq!(metrics.sum("kernel_connections", &established), Some(rows.len() as f64));
        assert_eq!(metrics.sum("docker_pool_connections", &[]), Some(rows.len() as f64));
        for row in &rows {
            assert_eq!(row.peer.as_deref(), Some(peer.as_str()), "{row:?}");
            assert_eq!(row.state, "established", "{row:?}");
            assert!(row.opened_by.is_some(), "{row:?}");
            assert_eq!(
                row.container.is_some(),
                row.purpose.as_deref() == Some("logs"),
                "{row:?}"
            );
        }
        let of = |purpose: &str| {
            rows.iter()
                .filter(|row| row.purpose.as_deref() == Some(purpose))
                .count()
        };
        (of("logs") >= logs && of("events") == 1).then_some(())
    });
}

fn assert_ended_with_none(agent: &Agent) {
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
    assert!(last.contains("register=0"), "{last:?}");
}

#[test]
fn an_engine_on_tcp_is_followed() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let (engine, address) = start_in_clear();
    assert_followed(Launch::at(&format!("tcp://{address}")), &engine, address);
}

#[test]
fn an_engine_with_tls_is_followed() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let certificates = Certificates::new();
    let (engine, address) = start_with_tls(&certificates.server(Validity::Good));
    let mut launch = Launch::at(&format!("tcp://{address}"));
    for (key, file) in tls_keys(&certificates.client(Validity::Good)) {
        launch = launch.environment(key, file);
    }
    assert_followed(launch, &engine, address);
}

/// By name, of which loopback has two addresses where there is IPv6: the engine listens at one.
#[test]
fn the_docker_clients_variables_suffice() {
    needs!(requirements::engine());
    let certificates = Certificates::new();
    let (engine, address) = start_with_tls(&certificates.server(Validity::Good));
    let folder = certificates.client(Validity::Good);
    let launch = by_environment(address, &folder);
    let host = format!("tcp://localhost:{}", address.port());
    let mut agent = launch.environment("DOCKER_HOST", &host).start();
    agent.wait_ready();
    let writer = Writer::new("web", Kind::Mixed, 200);
    writer.start(&engine);
    agent.wait_records(200, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&writer.expected_of_both());

    let doctor = agent::command(&agent::binary())
        .arg("doctor")
        .env("DOCKER_HOST", &host)
        .env("DOCKER_TLS_VERIFY", "1")
        .env("DOCKER_CERT_PATH", &folder)
        .output()
        .expect("run the agent");
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains(&format!(" at {host}, API ")), "{doctor:?}");
    let verified = format!("TLS, verified against {}", folder.join("ca.pem").display());
    assert!(said.contains(&verified), "{doctor:?}");
}

/// It says why, once; it is not ready, counts, tries again and again, though not all the time, and leaks nothing.
fn assert_refused(launch: Launch, address: SocketAddr, reason: &str, why: &str) {
    let mut agent = launch.kernel("required").start();
    agent.wait_said(why, PATIENCE);
    let ready = wait::until("/readyz to name it", PATIENCE, || {
        agent.admin.get("/readyz").ok().filter(|ready| ready.body.contains(why))
    });
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains(&format!("tcp://{address}")), "{}", ready.body);
    let counted = || {
        let metrics = agent.admin.metrics().expect("/metrics");
        let errors = metrics.sum("docker_http_errors_total", &[("reason", reason)]);
        let attempts = metrics.sum("docker_connection_errors_total", &[]);
        (errors.unwrap_or(0.0), attempts.unwrap_or(0.0))
    };
    let first = counted();
    assert!(first.0 >= 1.0 && first.1 >= 1.0, "{first:?}");
    control::effort(agent.pid(), 6 * SECOND).assert_below(BUSY, "trying again");
    let then = counted();
    let attempts = then.1 - first.1;
    assert!((1.0..=30.0).contains(&attempts), "{attempts} attempts in 6 s");
    let stderr = agent.stderr();
    let complaints = stderr
        .lines()
        .filter(|line| line.contains("no connection to the engine"));
    assert_eq!(complaints.filter(|line| line.contains(why)).count(), 1, "{stderr}");
    assert!(!stderr.contains("PRIVATE KEY"), "{stderr}");
    ledger::assert_no_connection_left_over(&agent, &address, 0);
    agent.stop();
    assert_ended_with_none(&agent);
}

#[test]
fn an_agent_whose_certificate_is_not_taken_says_why() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let certificates = Certificates::new();
    let (_engine, address) = start_with_tls(&certificates.server(Validity::Good));
    let assert_refused =
        |folder: &Path, reason, why| assert_refused(by_environment(address, folder), address, reason, why);
    let refused = "tls_client_certificate";
    let expired = certificates.client(Validity::Expired);
    assert_refused(&expired, refused, "it has expired at 2001-02-03T00:00:00Z");
    let nobody = certificates.nobody();
    assert_refused(&nobody, refused, "asks for the agent's certificate, and there is none");
    let strangers = Certificates::new();
    let stranger = strangers.client(Validity::Good);
    assert_refused(
        &stranger,
        "tls_unknown_issuer",
        "the engine's certificate is not signed by",
    );
    std::fs::copy(nobody.join("ca.pem"), stranger.join("ca.pem")).expect("copy the CA's certificate");
    assert_refused(&stranger, refused, "it is not signed by");
}

/// A certificate is renewed in its place, as certbot and others do, and the agent is told by SIGHUP.
#[test]
fn a_certificate_that_was_renewed_is_taken_up_at_a_reload() {
    needs!(requirements::engine());
    let certificates = Certificates::new();
    let (engine, address) = start_with_tls(&certificates.server(Validity::Good));
    let folder = certificates.client(Validity::Expired);
    let mut agent = by_environment(address, &folder).start();
    agent.wait_said("it has expired at 2001-02-03T00:00:00Z", PATIENCE);
    // Half of the files are new: they do not belong together, and nothing changes.
    let key = std::fs::read(folder.join("key.pem")).expect("the key");
    assert_eq!(certificates.client(Validity::Good), folder);
    let new = std::fs::read(folder.join("key.pem")).expect("the key");
    std::fs::write(folder.join("key.pem"), key).expect("the old key");
    agent.signal(agent::Signal::HUP);
    agent.wait_said("SIGHUP: nothing is changed", PATIENCE);
    std::fs::write(folder.join("key.pem"), new).expect("the new key");
    agent.signal(agent::Signal::HUP);
    agent.wait_ready();
    let writer = Writer::new("web", Kind::Short, 100);
    writer.start(&engine);
    agent.settle(100, PATIENCE);
    assert!(!agent.stderr().contains("PRIVATE KEY"));
    agent.stop();
}

#[test]
fn an_engine_whose_certificate_has_expired_is_not_followed() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let certificates = Certificates::new();
    let (_engine, address) = start_with_tls(&certificates.server(Validity::Expired));
    let launch = by_environment(address, &certificates.client(Validity::Good));
    let why = "the engine's certificate has expired at 2001-02-03T00:00:00Z";
    assert_refused(launch, address, "tls_expired", why);
}

#[test]
fn an_engine_whose_certificate_is_for_another_name_is_not_followed() {
    needs!(requirements::engine(), requirements::kernel(), requirements::ss());
    let certificates = Certificates::new();
    let (_engine, address) = start_with_tls(&certificates.server(Validity::Good));
    let named = |name: &'static str| {
        by_environment(address, &certificates.client(Validity::Good))
            .environment("LOG_CAPTURER_DOCKER_TLS_SERVER_NAME", name)
    };
    let why = "name in docker.tls.server_name what it is for";
    assert_refused(named("elsewhere.example"), address, "tls_wrong_name", why);
    let mut agent = named("localhost").start();
    agent.wait_ready();
    agent.stop();
}

/// By the command that checks, and by the agent before it does anything: the key, the file, and what is wrong.
#[test]
fn a_file_that_cannot_be_used_is_named() {
    let (certificates, others) = (Certificates::new(), Certificates::new());
    let folder = certificates.client(Validity::Good);
    let other = others.client(Validity::Good);
    for (wrong, file, said) in [
        ("ca", folder.join("key.pem"), "holds no certificate"),
        ("key", folder.join("absent.pem"), "No such file or directory"),
        ("key", folder.join("cert.pem"), "holds no private key"),
        ("key", other.join("key.pem"), "is not the key of"),
    ] {
        for command in ["check", "doctor", "run"] {
            let mut refused = agent::command(&agent::binary());
            refused.args([command, "--set", "docker.host=https://127.0.0.1:1"]);
            for key in ["ca", "cert", "key"] {
                let good = folder.join(format!("{key}.pem"));
                let file = if key == wrong { &file } else { &good };
                refused.arg("--set").arg(format!("docker.tls.{key}={}", file.display()));
            }
            let output = refused.output().expect("run the agent");
            assert_eq!(output.status.code(), Some(2), "{output:?}");
            let stderr = String::from_utf8_lossy(&output.stderr);
            for part in [&format!("docker.tls.{wrong}"), file.to_str().expect("UTF-8"), said] {
                assert!(stderr.contains(part), "no {part:?} in {stderr}");
            }
        }
    }
}

/// What a bug would leave open is named with its opener, and what the engine has ended and nobody reads is in CLOSE_WAIT.
#[test]
fn what_is_leaked_over_tcp_is_named() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::ss(),
        requirements::program("gcc")
    );
    let (engine, address) = start_in_clear();
    let shim = Shim::build();
    let launch = Launch::at(&format!("tcp://{address}"))
        .rotation("1s")
        .kernel("required");
    let agent = shim
        .preload(launch)
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", "1s")
        .environment("LOG_CAPTURER_KERNEL_LEAKS_ORPHAN_AFTER", "1s")
        .start();
    agent.wait_ready();
    Writer::new("web", Kind::Short, 100_000).start(&engine);
    let victim = shim.keep(agent.pid(), || {
        let victim = wait::until("a rotated stream", PATIENCE, || {
            let rows = agent.admin.connections().ok()?;
            let rotated = |by: &String| by.ends_with("rotation");
            rows.into_iter().find(|row| row.opened_by.as_ref().is_some_and(rotated))
        });
        (victim.inode, victim)
    });
    let leak = wait::until("the leak to be named", PATIENCE, || {
        agent.admin.leaks().ok()?.leaks.into_iter().next()
    });
    assert_eq!((leak.inode, leak.reason.as_str()), (victim.inode, "orphan"));
    assert_eq!((leak.opened_by, leak.container), (victim.opened_by, victim.container));
    assert_eq!(leak.state, "established");
    assert!(address.connections(agent.pid()).inodes.contains(&victim.inode));

    engine.kill9().expect("kill the engine");
    wait::until("CLOSE_WAIT", PATIENCE, || {
        let leaks = agent.admin.leaks().ok()?.leaks;
        leaks
            .iter()
            .any(|leak| leak.inode == victim.inode && leak.state == "half_closed")
            .then_some(())
    });
    let witnessed = witness::tcp_sockets()
        .into_iter()
        .find(|socket| socket.inode == victim.inode);
    assert_eq!(witnessed.map(|socket| socket.state).as_deref(), Some("CLOSE-WAIT"));
}
