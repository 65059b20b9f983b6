//! An engine's life, on a real `dockerd`. Needs root, `docker.io` and `busybox-static`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use private_engine::{PrivateEngine, find_tool, ping};

/// Says so where the machine cannot run it. Written past the capture of passing tests' output.
fn engine_or_say_why(test: &str) -> Option<PrivateEngine> {
    use std::io::Write;
    let reason = if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if find_tool("dockerd").is_none() {
        "no dockerd"
    } else {
        return Some(PrivateEngine::start().unwrap());
    };
    let line = format!("not run: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    None
}

/// A container that writes a line and goes on living. The trap, because a first process ignores SIGTERM
/// without one, and the engine would wait ten seconds for it.
fn talker(engine: &PrivateEngine) -> String {
    engine.import_busybox().unwrap();
    engine
        .run(&[
            "busybox:test",
            "sh",
            "-c",
            "trap exit TERM; echo hello; sleep 1000 & wait",
        ])
        .unwrap()
}

fn assert_gone(dir: &Path, container_pid: &str) {
    assert!(!dir.exists(), "{} is left", dir.display());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(dir.to_str().unwrap()), "a mount is left:\n{mounts}");
    let proc = PathBuf::from(format!("/proc/{container_pid}/exe"));
    assert!(
        proc.read_link().is_err(),
        "the container's process {container_pid} is left"
    );
}

fn container_pid(engine: &PrivateEngine, id: &str) -> String {
    engine.docker(&["inspect", "--format", "{{.State.Pid}}", id]).unwrap()
}

#[test]
fn it_runs_containers_and_leaves_nothing() {
    let Some(engine) = engine_or_say_why("it_runs_containers_and_leaves_nothing") else {
        return;
    };
    let id = talker(&engine);
    assert_eq!(engine.docker(&["logs", &id]).unwrap(), "hello");
    let (dir, pid) = (engine.dir().to_owned(), container_pid(&engine, &id));
    drop(engine);
    assert_gone(&dir, &pid);
}

#[test]
fn killed_it_leaves_nothing_either() {
    let Some(engine) = engine_or_say_why("killed_it_leaves_nothing_either") else {
        return;
    };
    let id = talker(&engine);
    let (dir, pid) = (engine.dir().to_owned(), container_pid(&engine, &id));
    engine.kill9().unwrap();
    assert!(ping(engine.socket()).is_err());
    drop(engine);
    assert_gone(&dir, &pid);
}

#[test]
fn it_can_be_killed_stopped_and_continued() {
    let Some(engine) = engine_or_say_why("it_can_be_killed_stopped_and_continued") else {
        return;
    };
    let id = talker(&engine);
    let first = engine.pid();
    engine.kill9().unwrap();
    engine.restart().unwrap();
    assert_ne!(engine.pid(), first);
    engine.docker(&["start", &id]).unwrap();
    assert_eq!(engine.docker(&["logs", &id]).unwrap(), "hello\nhello");

    engine.stop_signal().unwrap();
    let error = ping(engine.socket()).unwrap_err();
    assert!(format!("{error:#}").contains("no answer"), "{error:#}");
    engine.cont().unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while let Err(error) = ping(engine.socket()) {
        assert!(Instant::now() < end, "{error:#}");
    }
}
