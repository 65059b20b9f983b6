//! What a host refuses or hides of the log drivers' files: watches, a plain path, a mount of the agent's own, time.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use integration::agent::{Agent, Launch};
use integration::engine::Engine;
use integration::lines::Captured;
use integration::size::size;
use integration::wait::{self, PATIENCE};
use integration::writers::{Kind, Writer};
use integration::{needs, requirements};

fn data_root(engine: &Engine) -> PathBuf {
    let root = engine.docker(&["info", "--format", "{{.DockerRootDir}}"]);
    PathBuf::from(root.expect("docker info").trim())
}

/// Runs the agent as the child of a program, which finds it as `"$0" "$@"`.
fn under(launch: Launch, namespaces: &[&'static str], script: String) -> Launch {
    let mut wrapper = vec!["unshare"];
    wrapper.extend(namespaces);
    // For the length of the tests, which is what a constant lives for, too.
    wrapper.extend(["--fork", "--kill-child", "sh", "-c", script.leak()]);
    launch.under(&wrapper)
}

fn streams(agent: &Agent, source: &str) -> Option<f64> {
    agent.admin.metrics().ok()?.sum("capture_source", &[("source", source)])
}

/// The limits are those of a user namespace, so that no other test has less.
fn assert_exact_where(limit: &str, value: u32, said: &str) {
    let engine = Engine::start();
    let writers = [
        Writer::new("one", Kind::Short, 30).pace(1, 0.3),
        Writer::new("two", Kind::Mixed, 30).pace(1, 0.3),
        Writer::new("three", Kind::Short, 3_000).pace(10, 0.02),
        Writer::new("four", Kind::Short, 30).pace(1, 0.3),
    ];
    let script = format!("echo {value} > /proc/sys/user/{limit} && exec \"$0\" \"$@\"");
    let launch = Launch::on(engine.socket()).source("files").kernel("off");
    let mut agent = under(launch, &["--user", "--map-root-user"], script).start();
    agent.wait_ready();
    for writer in &writers {
        writer.start_with(&engine, &["--log-opt", "max-size=20k", "--log-opt", "max-file=3"]);
    }
    let expected: Vec<_> = writers.iter().flat_map(Writer::expected_of_both).collect();
    let total = expected.iter().map(|(.., lines)| lines.len()).sum();
    agent.settle(total, PATIENCE);
    let stderr = agent.stderr();
    assert_eq!(stderr.matches(said).count(), 1, "{stderr}");
    let gaps = agent.admin.metrics().expect("/metrics").sum("gaps_total", &[]);
    assert_eq!(gaps.unwrap_or(0.0), 0.0, "{stderr}");
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&expected);
}

#[test]
fn without_a_watch_for_every_file_no_line_is_lost() {
    needs!(requirements::engine(), requirements::program("unshare"));
    assert_exact_where("max_inotify_watches", 2, "no more files can be watched");
}

#[test]
fn without_any_watch_no_line_is_lost() {
    needs!(requirements::engine(), requirements::program("unshare"));
    assert_exact_where("max_inotify_instances", 0, "files cannot be watched");
}

#[test]
fn a_root_behind_a_symbolic_link_is_read() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let folder = tempfile::tempdir().expect("a folder");
    let link = folder.path().join("link");
    symlink(data_root(&engine), &link).expect("link to it");
    let writer = Writer::new("web", Kind::Mixed, 300);
    let mut agent = Launch::on(engine.socket())
        .source("files")
        .environment("LOG_CAPTURER_CAPTURE_FILES_ROOT", &link)
        .start();
    agent.wait_ready();
    writer.start(&engine);
    agent.settle(300, PATIENCE);
    agent.stop();
    let captured = Captured::read(&agent.output()).expect("records of the contract");
    captured.assert_exact(&writer.expected_of_both());
}

/// As an agent in a container has the files: by a mount that has been there since before the container that is removed.
#[test]
fn a_container_can_be_removed_while_the_agent_has_its_files_by_a_mount() {
    needs!(requirements::engine(), requirements::program("unshare"));
    let engine = Engine::start();
    let root = data_root(&engine);
    let folder = tempfile::tempdir().expect("a folder");
    let mounted = folder.path().join("containers");
    fs::create_dir(&mounted).expect("a place to mount at");
    // Its mounts are there when the agent's own are made.
    engine.run_script("web", &[], "seq 1 100 | sed 's/^/o /'; sleep 600");
    let script = format!(
        "mount --bind {root}/containers {mounted} && mount -o remount,ro,bind {mounted} && exec \"$0\" \"$@\"",
        root = root.display(),
        mounted = mounted.display()
    );
    let launch = Launch::on(engine.socket())
        .source("files")
        .environment("LOG_CAPTURER_CAPTURE_FILES_ROOT", folder.path());
    let mut agent = under(launch, &["--mount", "--propagation", "private"], script).start();
    agent.wait_ready();
    agent.wait_records(100, PATIENCE);
    assert_eq!(streams(&agent, "file"), Some(1.0));
    let removed = engine.docker(&["rm", "--force", "web"]);
    removed.expect("remove the container, which the agent's mount must not keep");
    let left = fs::read_dir(root.join("containers")).expect("the folder").count();
    assert_eq!(left, 0, "its folder is still there");
    wait::until("the agent to let go", PATIENCE, || {
        (streams(&agent, "file") == Some(0.0)).then_some(())
    });
    agent.stop();
}

/// A log of long ago is read to its end beside another one, not before it.
#[test]
fn a_huge_log_does_not_delay_a_small_one() {
    needs!(requirements::engine());
    let lines = size("HUGE_LINES", 400_000) as usize;
    let engine = Engine::start();
    // The engine lists the latest one first, and that is opened first.
    engine.run_script("small", &[], "seq 1 100 | sed 's/^/o /'; sleep 600");
    engine.run_script("huge", &[], &format!("seq 1 {lines} | sed 's/^/o /'; sleep 600"));
    wait::until("the logs to be written", PATIENCE, || {
        let written = |name| engine.logged(name, "stdout").len();
        (written("small") == 100 && written("huge") == lines).then_some(())
    });
    let mut agent = Launch::on(engine.socket()).source("files").kernel("off").start();
    agent.settle(lines + 100, PATIENCE);
    agent.stop();
    let output = fs::read_to_string(agent.output()).expect("the output");
    let containers: Vec<bool> = output.lines().map(|line| line.contains("\"name\":\"small\"")).collect();
    let small: Vec<usize> = (0..containers.len()).filter(|&at| containers[at]).collect();
    assert_eq!(small.len(), 100);
    // Whichever is opened first has one read ahead.
    let behind = small[99] - 99;
    println!("the small one came behind {behind} lines of the huge one");
    assert!(
        behind < lines / 10,
        "the small one came behind {behind} lines of the huge one"
    );
}
