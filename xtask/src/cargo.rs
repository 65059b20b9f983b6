//! Calls of cargo and other programs.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The same, out of the way of what else runs.
pub fn patient_cargo() -> Command {
    let cargo = cargo();
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(cargo.get_program()).current_dir(root());
    command
}

/// Runs to the end with standard output on standard error; a failure is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let stderr = std::io::stderr().as_fd().try_clone_to_owned()?;
    let status = command
        .stdout(Stdio::from(stderr))
        .status()
        .with_context(|| format!("{name} did not start"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        bail!("`{name} {}` failed: {status}", arguments.join(" "));
    }
    Ok(())
}

/// What it prints on standard output; a failure is an error that says what it complained of.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

/// Builds the agent as it is delivered, and gives its binary.
pub fn build_agent() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "log-capturer"]))?;
    let binary = target_dir()?.join("release/log-capturer");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// Promises of this name, one after the other, with what they print; none of them is passed over.
pub fn promises(name: &str, agent: &Path) -> Command {
    let mut test = cargo();
    test.args([
        "test",
        "--quiet",
        "--package=integration",
        "--test=promises",
        "--",
        name,
    ])
    .args(["--nocapture", "--test-threads=1"])
    .env("LOG_CAPTURER_BIN", agent)
    .env("LOG_CAPTURER_REQUIRE_ALL", "1");
    test
}

/// Builds the agent's tests of this name and gives their binary. Optimized: in an emulator a debug build takes twice as long.
pub fn build_test(name: &str) -> Result<PathBuf> {
    let output = cargo()
        .args([
            "test",
            "--no-run",
            "--release",
            "--package",
            "log-capturer",
            "--test",
            name,
        ])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "the tests did not compile");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let mut built = messages
        .flatten()
        .filter(|message| message["target"]["name"] == name && message["profile"]["test"] == true);
    built
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .with_context(|| format!("cargo built no test `{name}`"))
}

/// Where cargo builds, an absolute path.
pub fn target_dir() -> Result<PathBuf> {
    metadata()?["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("cargo metadata names no target directory")
}

/// The root file of every crate in the workspace, below [`root`].
pub fn crate_roots() -> Result<Vec<PathBuf>> {
    let metadata = metadata()?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    let files = targets.map(|target| {
        target["src_path"]
            .as_str()
            .context("cargo metadata names no file of a target")
    });
    files
        .map(|file| Ok(Path::new(file?).strip_prefix(root())?.to_owned()))
        .collect()
}

fn metadata() -> Result<serde_json::Value> {
    let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Tests at a time, for each processor. They wait more than they compute; those with an engine of their own wait for one
/// another besides (`tests/src/engine.rs`).
const EACH_PROCESSOR: usize = 4;

/// How many tests run at a time.
pub fn test_threads() -> usize {
    EACH_PROCESSOR * std::thread::available_parallelism().map_or(1, usize::from)
}
