//! A machine that cannot run a test says so, and with
//! `LOG_CAPTURER_REQUIRE_ALL=1` (set in CI) fails it.

use std::io::Write;
use std::process::{Command, Stdio};

/// Returns from the test, with `not run: <test>: <reason>`, unless all that it needs is there.
#[macro_export]
macro_rules! needs {
    ($($requirement:expr),+ $(,)?) => {{
        fn here() {}
        $(
            if let Err(reason) = $requirement {
                return $crate::requirements::not_run(std::any::type_name_of_val(&here), &reason);
            }
        )+
    }};
}

/// `marker` is the path of an item inside the test function: `promises::module::test::here`.
pub fn not_run(marker: &str, reason: &str) {
    let test = marker.trim_end_matches("::here");
    let test = test.split_once("::").map_or(test, |(_crate, test)| test);
    let require_all = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!require_all, "not run: {test}: {reason}");
    // Not `eprintln!`: the test runner swallows that of a test that passes.
    let _ = writeln!(std::io::stderr(), "not run: {test}: {reason}");
}

/// The test needs root.
pub fn root() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("it needs root".into())
    }
}

/// The test needs a program of this name.
pub fn program(name: &str) -> Result<(), String> {
    Command::new(name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(|error| format!("it needs the program {name}: {error}"))
}

/// A private `dockerd` wants root and its parts.
pub fn engine() -> Result<(), String> {
    root()?;
    program("dockerd")?;
    program("docker")?;
    program("busybox")
}

/// `ss` from iproute2: the witness that is not ours.
pub fn ss() -> Result<(), String> {
    Command::new("ss")
        .arg("-V")
        .stdout(Stdio::null())
        .status()
        .map(drop)
        .map_err(|error| format!("it needs ss: {error}"))
}

/// The kernel half: a kernel with BTF that root may load programs into.
pub fn kernel() -> Result<(), String> {
    root()?;
    if std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        Ok(())
    } else {
        Err("it needs a kernel with BTF at /sys/kernel/btf/vmlinux".into())
    }
}
