//! `cargo xtask fuzz`: libFuzzer on the targets of `fuzz/`, with the stable compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::setup::{self, Part};
use crate::{cargo, say};

pub const TARGETS: [&str; 8] = [
    "chunked",
    "frames",
    "lines",
    "json_file",
    "local",
    "k8s_file",
    "resume",
    "patterns",
];

/// LLVM's own pass tells libFuzzer which edges were taken and what was compared. Only the sanitizers, which code without
/// `unsafe` does well without, are for a nightly compiler.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Named, so that what runs at build time goes without [`COVERAGE`].
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

pub fn fuzz(target: Option<&str>, seconds: u32) -> Result<ExitCode> {
    setup::ensure(&[Part::Fuzzer]);
    let fuzzer = Fuzzer::build(cargo::cargo())?;
    let mut code = ExitCode::SUCCESS;
    for name in TARGETS
        .iter()
        .filter(|name| target.is_none_or(|target| target == **name))
    {
        if let Err(error) = fuzzer.search(name, seconds, 0) {
            say::step(&format!("error: {error:#}"));
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

pub struct Fuzzer {
    binaries: PathBuf,
    /// Inputs that led somewhere new: the next search starts with them.
    corpus: PathBuf,
}

impl Fuzzer {
    pub fn build(mut cargo: Command) -> Result<Self> {
        say::step("building the fuzz targets");
        // A directory of its own: with other flags cargo would build everything anew, to and fro.
        let target_dir = cargo::target_dir()?.join("fuzz");
        cargo::run(
            cargo
                .args([
                    "build",
                    "--package=fuzz",
                    "--features=libfuzzer",
                    "--bins",
                    "--profile=fuzz",
                ])
                .arg(format!("--target={TRIPLE}"))
                .arg("--target-dir")
                .arg(&target_dir)
                .env("RUSTFLAGS", COVERAGE),
        )?;
        Ok(Self {
            binaries: target_dir.join(TRIPLE).join("fuzz"),
            corpus: target_dir.join("corpus"),
        })
    }

    /// Searches for so long, or up to the first input that fails: that is an error, which names its file. Each `seed` takes
    /// a way of its own; 0: another one each time.
    pub fn search(&self, target: &str, seconds: u32, seed: u32) -> Result<()> {
        let corpus = self.corpus.join(target);
        fs::create_dir_all(&corpus)?;
        let found = self.corpus.with_file_name(format!("{target}-"));
        let binary = self.binaries.join(target);
        let output = Command::new(&binary)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-seed={seed}"))
            .arg(format!("-artifact_prefix={}", found.display()))
            .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=1024"])
            .arg(&corpus)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{} did not start", binary.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let lines: Vec<&str> = said.lines().collect();
            let tail = lines[lines.len().saturating_sub(40)..].join("\n");
            anyhow::bail!("{target}: it failed; again with `{} FILE`:\n{tail}", binary.display());
        }
        let last = said.lines().next_back().unwrap_or_default();
        println!("fuzz {target}: {last}, {} inputs kept", kept(&corpus));
        Ok(())
    }
}

fn kept(corpus: &Path) -> usize {
    fs::read_dir(corpus).map_or(0, Iterator::count)
}
