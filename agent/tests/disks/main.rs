//! Sinks and `state_dir` on disks that are full, fail or become read-only, and in folders of other users.
//!
//! Each test has mounts of its own, which end with its thread. It needs root, and says so where it has not.

#![expect(unsafe_code, reason = "a thread gets mounts of its own by a call that is unsafe")]

mod full;
mod links;
mod lost;
mod rig;
mod state;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// A folder of a test's own, on which it can mount what it likes.
struct Scratch(PathBuf);

/// None, with the reason printed past the test harness's capture, without root. With `LOG_CAPTURER_REQUIRE_ALL=1`, as in
/// CI, that is a failure.
fn scratch() -> Option<Scratch> {
    let name = thread::current().name().unwrap_or("a test").to_owned();
    if !rustix::process::geteuid().is_root() {
        let line = format!("not run: {name}: it needs root");
        let required = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
        assert!(!required, "{line}");
        writeln!(io::stderr(), "{line}").expect("stderr");
        return None;
    }
    // SAFETY: only this thread's file-system context and mounts are set apart; no descriptor table is.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }.expect("mounts of our own");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).expect("and of nobody else's");
    let path = std::env::temp_dir().join(format!("lc-{}-{}", name.replace("::", "-"), std::process::id()));
    fs::create_dir(&path).expect("a folder");
    Some(Scratch(path))
}

impl Scratch {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A tmpfs with such options.
    fn tmpfs(&self, name: &str, options: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("a mount point");
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(&path)]);
        path
    }

    /// An ext4 of 64 MiB on a disk that has so many bytes.
    fn ext4(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).expect("a mount point");
        let disk = self
            .tmpfs(&format!("{name}.disk"), &format!("size={bytes}"))
            .join("image");
        fs::File::create(&disk)
            .and_then(|disk| disk.set_len(64 << 20))
            .expect("an image with holes");
        run("mkfs.ext4", &["-q", text(&disk)]);
        run("mount", &["-o", "loop", text(&disk), text(&path)]);
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The mounts go with the thread, and the loop device with its mount. This is the folder below them.
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let points = mounts.lines().rev().filter_map(|mount| mount.split(' ').nth(1));
        for point in points.filter(|point| Path::new(point).starts_with(&self.0)) {
            let _ = Command::new("umount").args(["--lazy", point]).status();
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}
