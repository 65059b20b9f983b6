//! The image: its health check, its rights, its state, and that nothing of it is left.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::agent::Launch;
use integration::engine::Engine;
use integration::lines::Captured;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{image, needs, requirements, wait};
use rustix::process::{Pid, Signal, kill_process};

const AGENT: &str = "capturer";
const VOLUME: &str = "capturer-state";

fn docker(engine: &Engine, arguments: &[&str]) -> String {
    engine.docker(arguments).unwrap_or_else(|error| panic!("{error:#}"))
}

/// `docker run` of the image as the documents say it, but for what this engine and the test need.
fn run(engine: &Engine, image: &str, launch: &Launch, output: &Path) {
    let socket = format!("{}:/var/run/docker.sock", engine.socket().display());
    let output = format!("{}:/output", output.display());
    let volume = format!("{VOLUME}:/var/lib/log-capturer");
    let listen = format!("admin.listen={}", launch.admin().address());
    let mut arguments = vec![
        "run",
        "--detach",
        "--name",
        AGENT,
        "--network=host",
        "--hostname=a0b1c2d3e4f5",
    ];
    arguments.extend(["--read-only", "--security-opt=no-new-privileges", "--cap-drop=ALL"]);
    // Engine 20.10 does not know the names BPF and PERFMON. SYS_ADMIN has both, and mounts tracefs.
    arguments.extend(["--cap-add=SYS_ADMIN", "--cap-add=DAC_READ_SEARCH"]);
    arguments.extend(["--health-interval=1s", "--health-timeout=2s", "--health-retries=2"]);
    for mount in [&socket, &output, &volume] {
        arguments.extend(["--volume", mount]);
    }
    arguments.extend([image, "run", "--set", &listen, "--set", "kernel.mode=required"]);
    arguments.extend(["--set", "sinks=[{type: file, path: /output/lines.json}]"]);
    docker(engine, &arguments);
}

fn wait_for_health(engine: &Engine, wanted: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let health = docker(engine, &["inspect", "--format", "{{.State.Health.Status}}", AGENT]);
        if health == wanted {
            return;
        }
        let state = || docker(engine, &["inspect", "--format", "{{json .State}}", AGENT]);
        let runs = docker(engine, &["inspect", "--format", "{{.State.Running}}", AGENT]) == "true";
        assert!(
            runs && Instant::now() < deadline,
            "{health} instead of {wanted}; it said:\n{}\nits state: {}",
            said(engine),
            state()
        );
        sleep(Duration::from_millis(200));
    }
}

fn said(engine: &Engine) -> String {
    String::from_utf8_lossy(&engine.logged(AGENT, "stderr").join(&b'\n')).into_owned()
}

fn pid(engine: &Engine) -> Pid {
    let pid = docker(engine, &["inspect", "--format", "{{.State.Pid}}", AGENT]);
    pid.parse().ok().and_then(Pid::from_raw).expect("a process id")
}

#[test]
fn the_image_runs_healthy_captures_exactly_and_leaves_nothing() {
    needs!(requirements::engine(), requirements::kernel());
    let engine = Engine::start();
    let image = image::bring(&engine);
    let launch = Launch::on(engine.socket());
    let output = tempfile::tempdir().expect("a folder for the records");
    run(&engine, &image, &launch, output.path());
    wait_for_health(&engine, "healthy");
    let metrics = wait::until("/metrics", PATIENCE, || launch.admin().metrics().ok());
    assert_eq!(metrics.sum("kernel_up", &[("tier", "none")]).unwrap_or(0.0), 0.0);
    assert_eq!(metrics.sum("kernel_up", &[]), Some(1.0));
    assert_eq!(metrics.sum("build_info", &[]), Some(1.0));

    // An agent that stands still does not answer.
    kill_process(pid(&engine), Signal::STOP).expect("stop the agent");
    wait_for_health(&engine, "unhealthy");
    kill_process(pid(&engine), Signal::CONT).expect("let the agent go on");
    wait_for_health(&engine, "healthy");

    let writer = Writer::new("other", Kind::Mixed, 300);
    writer.start(&engine);
    wait::until("a hundred records", PATIENCE, || {
        (records(output.path()) > 100).then_some(())
    });
    // Another container of the image goes on from the state that the volume holds.
    docker(&engine, &["rm", "--force", AGENT]);
    run(&engine, &image, &launch, output.path());
    engine.wait("other");
    wait::until("all records", PATIENCE, || {
        (records(output.path()) >= 300).then_some(())
    });
    sleep(Duration::from_secs(2));

    let captured = Captured::read(&output.path().join("lines.json")).expect("records of the contract");
    captured.assert_exact(&writer.expected_of_both());
    assert_eq!(captured.containers(), ["other"], "its own log is captured");
    let text = std::fs::read_to_string(output.path().join("lines.json")).expect("the records");
    let host = format!("\"host\":\"{}\"", docker(&engine, &["info", "--format", "{{.Name}}"]));
    assert!(
        text.lines().all(|record| record.ends_with(&format!("{host}}}"))),
        "not all with {host}"
    );

    let agent = pid(&engine);
    docker(&engine, &["stop", AGENT]);
    let code = docker(&engine, &["inspect", "--format", "{{.State.ExitCode}}", AGENT]);
    assert_eq!(code, "0", "it said:\n{}", said(&engine));
    docker(&engine, &["rm", AGENT]);
    let process = format!("/proc/{}", agent.as_raw_nonzero());
    assert!(!Path::new(&process).exists(), "{process} is still there");
    assert_eq!(
        docker(&engine, &["volume", "ls", "--quiet"]),
        VOLUME,
        "another volume is left"
    );
}

fn records(output: &Path) -> usize {
    let text = std::fs::read(output.join("lines.json")).unwrap_or_default();
    text.iter().filter(|&&byte| byte == b'\n').count()
}

#[test]
fn an_agent_whose_output_feeds_the_engines_own_log_says_so() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let image = image::bring(&engine);
    let socket = format!("{}:/var/run/docker.sock", engine.socket().display());
    let mut run = vec!["run", "--detach", "--name", AGENT, "--network=none"];
    run.extend([
        "--volume",
        socket.as_str(),
        image.as_str(),
        "run",
        "--set",
        "kernel.mode=off",
    ]);
    docker(&engine, &run);
    wait::until("the warning", PATIENCE, || {
        said(&engine).contains("every line is stored twice").then_some(())
    });
}

#[test]
fn the_image_says_what_it_is() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let image = image::bring(&engine);
    let labels = docker(
        &engine,
        &["image", "inspect", "--format", "{{json .Config.Labels}}", &image],
    );
    for label in ["title", "description", "licenses", "version", "revision", "created"] {
        let label = format!("\"org.opencontainers.image.{label}\":\"");
        assert!(labels.contains(&label), "no {label} in {labels}");
    }
    let version = docker(&engine, &["run", "--rm", "--network=none", &image, "--version"]);
    assert!(
        version.starts_with(&format!("log-capturer {} (", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    // Nobody answers here: the health check fails, and says why.
    let asked = engine
        .docker(&["run", "--rm", "--network=none", &image, "health"])
        .expect_err("no agent runs there");
    assert!(asked.to_string().contains("cannot ask the agent"), "{asked:#}");
}
