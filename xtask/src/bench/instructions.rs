//! Instructions a line, counted by callgrind on a fixed input: a slowdown is noticed on the busiest machine.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use private_engine::find_tool;

use crate::setup::{self, Part};
use crate::{cargo, say};

/// Instructions a line by source, counted with [`COMPILER`]. What changes the hot path changes it here, with the reason in the commit.
const RECORDED: [(&str, f64); 5] = [
    ("api", 2_022.6),
    ("json-file", 1_504.2),
    ("json-file-quoted", 3_760.3),
    ("local", 1_431.2),
    ("k8s-file", 1_530.2),
];
/// Another compiler makes other code.
const COMPILER: &str = "rustc 1.95";
const TOLERANCE: f64 = 0.05;
/// The function that takes what one read has brought.
const COUNTED: &str = "--toggle-collect=hot_path::Path::read";

pub fn compare() -> Result<ExitCode> {
    setup::ensure(&[Part::Peers]);
    let bench = build()?;
    let compiler = said(Command::new("rustc").arg("--version"))?;
    let is_compared = compiler.starts_with(COMPILER);
    if !is_compared {
        println!("not compared: this is {}", compiler.trim());
    }
    let mut changed = Vec::new();
    for (source, recorded) in RECORDED {
        let each = count(&bench, source)?;
        println!("{source}: {each:.1} instructions a line; {recorded:.1} recorded with {COMPILER}");
        let change = each / recorded - 1.0;
        if is_compared && change.abs() > TOLERANCE {
            changed.push(format!("{source} {:+.1} %", change * 100.0));
        }
    }
    ensure!(
        changed.is_empty(),
        "that is {}, more than {:.0} %: find out why, then record it in xtask/src/bench/instructions.rs",
        changed.join(", "),
        TOLERANCE * 100.0
    );
    Ok(ExitCode::SUCCESS)
}

/// Instructions for one line of this source.
fn count(bench: &Path, source: &str) -> Result<f64> {
    let lines: f64 = said(Command::new(bench).args(["--count", source]))?
        .trim()
        .parse()
        .context("the number of lines")?;
    let valgrind = find_tool("valgrind").context("no valgrind on this machine (Debian: valgrind)")?;
    let mut callgrind = Command::new(valgrind);
    callgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED])
        .arg(bench)
        .args(["--count", source]);
    let output = callgrind.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "callgrind: {text}");
    let total = text.lines().find_map(|line| line.split_once("Collected :"));
    let total: f64 = total.context("callgrind names no count")?.1.trim().parse()?;
    Ok(total / lines)
}

fn said(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Gives the benchmark's binary.
fn build() -> Result<PathBuf> {
    say::step("building the benchmark");
    let mut build = cargo::cargo();
    build.args(["bench", "--no-run", "--package", "benches", "--bench", "hot_path"]);
    let messages = said(build.arg("--message-format=json-render-diagnostics"))?;
    let messages = serde_json::Deserializer::from_str(&messages).into_iter::<serde_json::Value>();
    let mut built = messages
        .flatten()
        .filter(|message| message["target"]["name"] == "hot_path");
    built
        .find_map(|message| Some(message["executable"].as_str()?.into()))
        .context("cargo built no benchmark hot_path")
}
