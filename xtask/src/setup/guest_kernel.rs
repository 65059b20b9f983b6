//! The kernels that the virtual machine runs. Their packages are unpacked, not installed: an installed one would become the
//! host's next boot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use super::{debian, source::Source};
use crate::{cargo, say};

/// Depends on the newest one of the distribution: 6.1 on Debian 12.
const NEWEST: &str = "linux-image-cloud-amd64";
const FLAVOUR: &str = "-cloud-amd64";

/// Has every series of kernels that came after the release.
const SUITE: &str = "trixie-backports";

/// What `ss` asks the kernel with; modules in Debian. In the order of their dependencies.
const MODULES: [&str; 3] = ["unix_diag", "inet_diag", "tcp_diag"];

pub struct Kernel {
    /// `uname -r`
    pub version: String,
    pub image: PathBuf,
    pub modules: Vec<PathBuf>,
}

impl Kernel {
    /// The one that the host has installed for itself, or the one that was unpacked.
    pub fn find() -> Result<Self> {
        let unpacked = directory("kernel")?;
        [Path::new("/"), &unpacked]
            .into_iter()
            .find_map(below)
            .context("no kernel for a virtual machine: `cargo xtask setup` gets one")
    }

    /// The newest of this series (`6.18`) that Debian has packages of, unpacked where it is not yet.
    pub fn of_series(series: &str) -> Result<Self> {
        let unpacked = directory(&format!("kernel-{series}"))?;
        if let Some(kernel) = below(&unpacked) {
            return Ok(kernel);
        }
        let source = Source::new(&directory("apt")?, SUITE)?;
        let packages = packages(&source, series)?;
        say::step(&format!(
            "unpacking the Debian packages {}, to be run in a virtual machine only",
            packages.join(" ")
        ));
        source.unpack(&packages, &unpacked)?;
        below(&unpacked).with_context(|| format!("no kernel in {}", packages.join(" ")))
    }
}

/// The image's package; from 6.19 on it has others do the work: one with the image, one with the modules.
fn packages(source: &Source, series: &str) -> Result<Vec<String>> {
    let prefix = format!("linux-image-{series}.");
    let mut images = source.names(&prefix)?;
    images.retain(|name| name.ends_with(FLAVOUR));
    // 6.18.9 comes before 6.18.15.
    images.sort_by_key(|name| {
        let number = name[prefix.len()..].split(|c: char| !c.is_ascii_digit()).next();
        number.and_then(|number| number.parse::<u32>().ok())
    });
    let image = images
        .pop()
        .with_context(|| format!("Debian has no package {prefix}*{FLAVOUR}"))?;
    let mut packages = source.needed_by(&image)?;
    packages.retain(|name| name.starts_with("linux-binary-") || name.starts_with("linux-modules-"));
    packages.push(image);
    Ok(packages)
}

fn below(root: &Path) -> Option<Kernel> {
    // Since Debian 13 all of them are below /usr.
    let trees = ["usr/lib/modules", "lib/modules"].map(|tree| root.join(tree));
    let mut versions: Vec<_> = trees
        .iter()
        .flat_map(|tree| fs::read_dir(tree).into_iter().flatten())
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(FLAVOUR))
        .collect();
    versions.sort();
    versions.into_iter().rev().find_map(|version| {
        let images = [
            root.join("boot").join(format!("vmlinuz-{version}")),
            root.join("usr/lib/modules").join(&version).join("vmlinuz"),
        ];
        let image = images.into_iter().find(|image| image.is_file())?;
        let modules = trees.iter().find_map(|tree| {
            let tree = tree.join(&version);
            MODULES.iter().map(|name| module(&tree, name)).collect::<Option<_>>()
        })?;
        Some(Kernel {
            version,
            image,
            modules,
        })
    })
}

/// Compressed where the distribution compresses them.
fn module(modules: &Path, name: &str) -> Option<PathBuf> {
    let files = [format!("{name}.ko"), format!("{name}.ko.xz")];
    let mut entries = WalkDir::new(modules.join("kernel/net")).into_iter().flatten();
    entries
        .find(|entry| files.iter().any(|file| entry.file_name() == file.as_str()))
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
    debian::unpack(&[name], &directory("kernel")?)?;
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

fn directory(name: &str) -> Result<PathBuf> {
    anyhow::ensure!(
        cfg!(target_arch = "x86_64"),
        "the virtual machine is x86-64, and this host is not"
    );
    Ok(cargo::target_dir()?.join("vm").join(name))
}
