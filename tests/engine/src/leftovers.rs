//! What an engine leaves where it could not end well: processes, mounts, files.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Not TMPDIR: it may be long, and a unix socket's path must fit in 108 bytes.
const BASE: &str = "/tmp";
/// Followed by the process id of the owner and a number.
const PREFIX: &str = "private-engine.";

pub(crate) fn create_dir() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(BASE).join(format!("{PREFIX}{}.{number}", std::process::id()));
    DirBuilder::new()
        .mode(0o711)
        .create(&dir)
        .with_context(|| format!("cannot create {}", dir.display()))?;
    Ok(dir)
}

/// Clears away the engines whose owner was killed before it could drop them.
pub(crate) fn sweep_abandoned() {
    for entry in fs::read_dir(BASE).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        let alive = |pid| Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH));
        if owner.is_some_and(|owner| !alive(owner)) {
            eprintln!(
                "private engine: clearing away {}, whose owner is gone",
                entry.path().display()
            );
            remove(&entry.path());
        }
    }
}

/// Ends the processes that run out of `dir`, undoes the mounts in it, and removes it.
pub(crate) fn remove(dir: &Path) {
    kill_processes(dir);
    // The last mounted first. Detached, because a killed container may still be going.
    for mount in mounts_below(dir).iter().rev() {
        if let Err(error) = unmount(mount, UnmountFlags::DETACH) {
            eprintln!("private engine: cannot unmount {}: {error}", mount.display());
        }
    }
    if let Err(error) = fs::remove_dir_all(dir) {
        eprintln!("private engine: cannot remove {}: {error}", dir.display());
    }
}

/// dockerd, containerd and its shims name the directory on their command line; a shim's child is a
/// container's first process, and with that the container's process namespace ends.
fn kill_processes(dir: &Path) {
    let ours: Vec<i32> = processes().filter(|pid| belongs_to(dir, *pid)).collect();
    let children = processes().filter(|pid| parent(*pid).is_some_and(|parent| ours.contains(&parent)));
    for pid in children
        .chain(ours.iter().copied())
        .filter_map(Pid::from_raw)
        .collect::<Vec<_>>()
    {
        // It may have ended by itself meanwhile.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Only the engine's own programs: an agent or a `tail` may well name its socket or log.
fn belongs_to(dir: &Path, pid: i32) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let program = line
        .split('\0')
        .next()
        .and_then(|program| program.rsplit('/').next())
        .unwrap_or_default();
    (program == "dockerd" || program.starts_with("containerd")) && line.contains(&format!("{}/", dir.display()))
}

fn processes() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything: count from behind it.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}
