//! The emulator. Where the host has none, its packages are unpacked, not installed: that takes no root, and nothing of
//! the host's that cannot be installed beside them has to go (`qemu-utils` from backports is such).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use private_engine::find_tool;

use super::debian;
use crate::{cargo, say};

pub const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Below what was unpacked.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const MODULES: &str = "usr/lib/x86_64-linux-gnu/qemu";
const DATA: [&str; 2] = ["usr/share/qemu", "usr/share/seabios"];

#[derive(Clone)]
pub enum Emulator {
    Installed(PathBuf),
    /// The root of what was unpacked.
    Unpacked(PathBuf),
}

impl Emulator {
    pub fn find() -> Result<Self> {
        if let Some(program) = find_tool(PROGRAM) {
            return Ok(Self::Installed(program));
        }
        let root = directory()?;
        let unpacked = program_below(&root).is_file().then_some(Self::Unpacked(root));
        unpacked.with_context(|| format!("no {PROGRAM} on this machine: `cargo xtask setup` gets one"))
    }

    /// It computes all the while, so it leaves the processors to those who wait for something else.
    pub fn command(&self) -> Command {
        let mut command = Command::new("nice");
        command.args(["-n", "10"]);
        match self {
            Self::Installed(program) => {
                command.arg(program);
            }
            Self::Unpacked(root) => {
                command.arg(program_below(root));
                let libraries = LIBRARIES.map(|libraries| root.join(libraries).into_os_string());
                command.env("LD_LIBRARY_PATH", libraries.join(OsStr::new(":")));
                command.env("QEMU_MODULE_DIR", root.join(MODULES));
                for data in DATA {
                    command.arg("-L").arg(root.join(data));
                }
            }
        }
        command
    }
}

/// Gets one if there is none.
pub fn ensure() -> Result<()> {
    if Emulator::find().is_err() {
        let packages = debian::not_installed(PACKAGE)?;
        say::step(&format!(
            "unpacking the Debian package {PACKAGE} and what it needs, to be run from there"
        ));
        debian::unpack(&packages, &directory()?)?;
    }
    Emulator::find().map(drop)
}

fn program_below(root: &Path) -> PathBuf {
    root.join("usr/bin").join(PROGRAM)
}

fn directory() -> Result<PathBuf> {
    Ok(cargo::target_dir()?.join("vm/emulator"))
}
