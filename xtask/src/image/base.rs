//! A Debian to build on where no registry of images can be reached.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use private_engine::{PrivateEngine, find_tool};

use crate::setup::mirror;
use crate::{cargo, say};

const SUITE: &str = "bookworm";
const NAME: &str = "debian-by-debootstrap:bookworm";
/// What tells a program how to reach the package archives from this machine.
const SETTINGS: [&str; 4] = [
    "etc/apt/sources.list",
    "etc/apt/sources.list.d",
    "etc/apt/apt.conf.d",
    "etc/apt/keyrings",
];
/// Whom this machine trusts. As certificates of the base's own it stays when the package makes the bundle anew.
const TRUSTED: &str = "etc/ssl/certs/ca-certificates.crt";
const OWN_CERTIFICATES: &str = "usr/local/share/ca-certificates/machine.crt";

/// Makes the base once, and imports it into the engine.
pub fn import(engine: &PrivateEngine, folder: &Path) -> Result<String> {
    let tar = folder.join("base.tar");
    if !tar.is_file() {
        make(folder, &tar)?;
    }
    engine.docker(&["import", &tar.to_string_lossy(), NAME])?;
    Ok(NAME.to_owned())
}

fn make(folder: &Path, tar: &Path) -> Result<()> {
    let debootstrap = find_tool("debootstrap").context("no debootstrap: `cargo xtask setup` installs it")?;
    say::step("making a Debian to build on, by debootstrap");
    let root = tempfile::tempdir_in(folder)?;
    let mut bootstrap = Command::new(debootstrap);
    bootstrap.args(["--variant=minbase", "--include=ca-certificates", SUITE]);
    cargo::run(bootstrap.arg(root.path()).arg(mirror()?))?;
    for setting in SETTINGS {
        take_over(setting, root.path())?;
    }
    let trusted = Path::new("/").join(TRUSTED);
    if trusted.is_file() {
        fs::copy(&trusted, root.path().join(TRUSTED))?;
        fs::copy(&trusted, root.path().join(OWN_CERTIFICATES))?;
    }
    // What is lost with the power is made again: no file need be on the disk before the next one.
    fs::write(root.path().join("etc/dpkg/dpkg.cfg.d/unsafe-io"), "force-unsafe-io\n")?;
    // Whole under its name: half of it would be taken for all.
    let half = tar.with_extension("half");
    let mut pack = Command::new("tar");
    pack.arg("-C").arg(root.path()).arg("-cf").arg(&half).arg(".");
    cargo::run(&mut pack)?;
    fs::rename(half, tar)?;
    Ok(())
}

/// The machine's own settings instead of those that debootstrap has made.
fn take_over(setting: &str, root: &Path) -> Result<()> {
    let (from, to) = (Path::new("/").join(setting), root.join(setting));
    if to.is_dir() {
        fs::remove_dir_all(&to)?;
    } else if to.exists() {
        fs::remove_file(&to)?;
    }
    if from.exists() {
        let arguments: [OsString; 4] = ["-r".into(), "--dereference".into(), from.into(), to.into()];
        let status = Command::new("cp").args(arguments).status()?;
        ensure!(status.success(), "cp: {setting}: {status}");
    }
    Ok(())
}
