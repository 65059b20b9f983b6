//! The kernel that the virtual machine runs. Its package is unpacked, not installed: an installed one would become the
//! host's next boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::debian;
use crate::{cargo, say};

/// Depends on the newest one of the distribution: 6.1 on Debian 12.
const NEWEST: &str = "linux-image-cloud-amd64";
const FLAVOUR: &str = "-cloud-amd64";

/// What `ss` asks the kernel with; modules in Debian. In the order of their dependencies.
const MODULES: [&str; 3] = ["unix_diag", "inet_diag", "tcp_diag"];

pub struct Kernel {
    pub image: PathBuf,
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The one that the host has installed for itself, or the one that was unpacked.
    pub fn find() -> Result<Self> {
        let unpacked = directory()?;
        [Path::new("/"), &unpacked]
            .into_iter()
            .find_map(below)
            .context("no kernel for a virtual machine: `cargo xtask setup` gets one")
    }
}

fn below(root: &Path) -> Option<Kernel> {
    let entries = fs::read_dir(root.join("boot")).ok()?;
    let mut versions: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("vmlinuz-")
                .filter(|name| name.ends_with(FLAVOUR))
                .map(str::to_owned)
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().find_map(|version| {
        let modules = root.join("lib/modules").join(&version);
        Some(Kernel {
            image: root.join("boot").join(format!("vmlinuz-{version}")),
            modules: MODULES
                .iter()
                .map(|name| module(&modules, name))
                .collect::<Option<_>>()?,
        })
    })
}

fn module(modules: &Path, name: &str) -> Option<PathBuf> {
    let file = format!("{name}.ko");
    let mut entries = WalkDir::new(modules.join("kernel/net")).into_iter().flatten();
    entries
        .find(|entry| entry.file_name() == file.as_str())
        .map(walkdir::DirEntry::into_path)
}

/// Gets it if there is none.
pub fn ensure() -> Result<()> {
    if Kernel::find().is_ok() {
        return Ok(());
    }
    let name = newest()?;
    say::step(&format!(
        "unpacking the Debian package {name}, to be run in a virtual machine only"
    ));
    debian::unpack(&[name], &directory()?)?;
    Kernel::find().map(drop)
}

fn newest() -> Result<String> {
    let depends = || -> Result<Option<String>> {
        let output = Command::new("apt-cache")
            .args(["depends", NEWEST])
            .output()
            .context("apt-cache")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: ").map(str::to_owned)))
    };
    if let Some(name) = depends()? {
        return Ok(name);
    }
    debian::update()?;
    depends()?.with_context(|| format!("this distribution has no package {NEWEST}"))
}

fn directory() -> Result<PathBuf> {
    anyhow::ensure!(
        cfg!(target_arch = "x86_64"),
        "the virtual machine is x86-64, and this host is not"
    );
    Ok(cargo::target_dir()?.join("vm/kernel"))
}
