//! Where the figures come from: without it they say little.

use std::fs;
use std::process::Command;

use private_engine::PrivateEngine;
use rustix::system::uname;

pub fn describe(engine: &PrivateEngine) -> String {
    let kernel = uname().release().to_string_lossy().into_owned();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown");
    let docker = engine
        .docker(&["version", "--format", "{{.Server.Version}}, client {{.Client.Version}}"])
        .unwrap_or_default();
    let curl = Command::new("curl").arg("--version").output();
    let curl = curl.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).into_owned(),
    );
    let curl = curl.split(' ').nth(1).unwrap_or("none");
    format!("Linux {kernel}, {processors} processors ({model}), engine {docker}, curl {curl}.\n\n")
}
