//! An image from nothing but the machine's static busybox.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The name that the image is imported by.
pub const IMAGE: &str = "busybox:test";

/// Packs busybox, with a link for each of its applets, into a tar that `docker import` takes.
pub fn tar(dir: &Path) -> Result<PathBuf> {
    let busybox = crate::tools::find("busybox").context("no busybox on this machine (Debian: busybox-static)")?;
    let root = dir.join("busybox");
    let bin = root.join("bin");
    fs::create_dir_all(&bin)?;
    fs::create_dir_all(root.join("tmp"))?;
    fs::copy(&busybox, bin.join("busybox"))?;

    let list = Command::new(&busybox)
        .arg("--list")
        .output()
        .context("busybox did not start")?;
    for applet in String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|name| *name != "busybox")
    {
        symlink("busybox", bin.join(applet))?;
    }
    let tar = dir.join("busybox.tar");
    let status = Command::new("tar")
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status()?;
    ensure!(status.success(), "tar: {status}");
    fs::remove_dir_all(&root)?;
    Ok(tar)
}
