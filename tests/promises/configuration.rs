//! A configuration that cannot be meant.

use std::path::Path;

use integration::agent::{self, Launch, STOP};

#[test]
fn an_unknown_key_is_refused_with_file_line_and_key() {
    let launch = Launch::on(Path::new("/nonexistent/docker.sock")).more("admiin:\n  listen: 127.0.0.1:1\n");
    let config = launch.configure();
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let line = 1 + text.lines().position(|line| line == "admiin:").expect("the key");
    let checked = agent::command(&agent::binary())
        .args(["check", "--config"])
        .arg(&config)
        .output()
        .expect("run the agent");
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let said = String::from_utf8_lossy(&checked.stderr).into_owned();

    let mut agent = launch.start();
    let status = agent.wait_exit(STOP);
    assert_eq!(status.code(), Some(2), "{status}");
    for said in [said, agent.stderr()] {
        assert!(said.contains(config.to_str().expect("UTF-8")), "no file in: {said}");
        assert!(said.contains(&format!("{line}")), "no line {line} in: {said}");
        assert!(said.contains("admiin"), "no key in: {said}");
    }
}

#[test]
fn a_bad_value_is_refused_with_file_line_and_key() {
    for (section, key, value, said) in [
        ("delivery", "flush_interval", "soon", ""),
        ("delivery", "max_batches", "1", "must be from 2 to 1024"),
        ("log", "level", "loud", "expected one of"),
        ("shutdown", "deadline", "0s", "must be longer than 0s"),
    ] {
        let launch = Launch::on(Path::new("/nonexistent/docker.sock"));
        let launch = launch.more(&format!("{section}:\n  {key}: {value}\n"));
        let config = launch.configure();
        let text = std::fs::read_to_string(&config).expect("the configuration");
        let checked = agent::command(&agent::binary())
            .args(["check", "--config"])
            .arg(&config)
            .output()
            .expect("run the agent");
        assert_eq!(checked.status.code(), Some(2), "{checked:?}");
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        // The last line.
        let place = format!("{}:{}:", config.display(), text.lines().count());
        assert!(told.starts_with(&place), "not at {place}: {told}");
        assert!(told.contains(&format!("{section}.{key}: ")), "no key in: {told}");
        assert!(told.contains(said), "not {said:?}: {told}");
    }
    let set = "capture.files.root=docker";
    let checked = agent::command(&agent::binary())
        .args(["check", "--set", set])
        .output()
        .expect("run the agent");
    assert_eq!(checked.status.code(), Some(2), "{checked:?}");
    let told = String::from_utf8_lossy(&checked.stderr).into_owned();
    let expected = format!("--set {set}: capture.files.root: must be an absolute path, or empty\n");
    assert_eq!(told, expected);
}

#[test]
fn a_good_configuration_is_checked_and_accepted() {
    let launch = Launch::on(Path::new("/nonexistent/docker.sock"));
    let checked = agent::command(&agent::binary())
        .args(["check", "--config"])
        .arg(launch.configure())
        .output()
        .expect("run the agent");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn a_variable_that_names_no_key_is_told_of() {
    let mut agent = Launch::on(Path::new("/nonexistent/docker.sock"))
        .kernel("off")
        .environment("LOG_CAPTURER_CAPTURE_ROTATION_INTERVALL", "1s")
        .start();
    agent.wait_said("LOG_CAPTURER_CAPTURE_ROTATION_INTERVALL", STOP);
    agent.stop();
}
