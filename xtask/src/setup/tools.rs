//! Programs that cargo installs, and what rustup may have.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};
use private_engine::find_tool;

use crate::{cargo, say};

pub struct CargoTool {
    name: &'static str,
    version: &'static str,
    arguments: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
    takes: &'static str,
}

/// Linked with the LLVM of the compiler whose bitcode it reads. LLVM_PREFIX, because it would
/// otherwise take the first LLVM that it finds.
pub const BPF_LINKER: CargoTool = CargoTool {
    name: "bpf-linker",
    version: "0.13.0",
    arguments: &["--no-default-features", "--features=llvm-22"],
    env: &[("LLVM_PREFIX", "/usr/lib/llvm-22")],
    takes: "about half a minute",
};

pub const CARGO_DENY: CargoTool = CargoTool {
    name: "cargo-deny",
    version: "0.20.2",
    arguments: &[],
    env: &[],
    takes: "about two minutes",
};

/// An OpenTelemetry collector, one program in a wheel.
const COLLECTOR: &str = "rotel==0.0.1a15";
/// Below the build directory. The tests look for it there.
const COLLECTOR_PROGRAM: &str = "rotel/rotel/rotel-agent";

/// From Python's registry, into a folder of its own: nothing of the machine's Python is changed.
pub fn install_collector() -> Result<()> {
    let target = cargo::target_dir()?;
    if target.join(COLLECTOR_PROGRAM).is_file() {
        return Ok(());
    }
    if find_tool("python3").is_none() {
        bail!("no python3 here, whose pip gets {COLLECTOR}");
    }
    say::step(&format!("getting the collector {COLLECTOR} by pip for the tests"));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore", "--upgrade"])
        .arg("--target")
        .arg(target.join("rotel"))
        .arg(COLLECTOR);
    cargo::run(&mut pip)
}

impl CargoTool {
    pub fn is_there(&self) -> bool {
        find_tool(self.name).is_some() || cargo_home_bin().is_some_and(|bin| bin.join(self.name).is_file())
    }

    pub fn install(&self, why: &str) -> Result<()> {
        if self.is_there() {
            return Ok(());
        }
        say::step(&format!(
            "installing {} {} by cargo for {why}; it takes {}",
            self.name, self.version, self.takes
        ));
        let mut install = cargo::cargo();
        install
            .args(["install", "--locked", self.name, "--version", self.version])
            .args(self.arguments);
        cargo::run(install.envs(self.env.iter().copied()))
    }
}

fn cargo_home_bin() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    Some(
        home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))?
            .join("bin"),
    )
}

/// A nightly with the component `rust-src` can build `core` for the kernel.
pub fn nightly_builds_core() -> bool {
    // An inherited RUSTUP_TOOLCHAIN would not matter, `+nightly` wins; an inherited RUSTC would.
    let sysroot = Command::new("rustc")
        .args(["+nightly", "--print=sysroot"])
        .env_remove("RUSTC")
        .output();
    sysroot.is_ok_and(|output| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        output.status.success() && sysroot.join("lib/rustlib/src/rust/library/core").is_dir()
    })
}
