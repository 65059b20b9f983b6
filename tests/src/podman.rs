//! Podman, whose service speaks the engine's API too. All it has lies in one directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait::{self, PATIENCE};

/// Under this name nobody is asked for it.
const IMAGE: &str = "localhost/busybox:test";

/// A running service of Podman. Dropping it ends the service and its containers.
pub struct Podman {
    directory: TempDir,
    service: Child,
}

impl Podman {
    /// Starts one, with an image of busybox.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory for Podman");
        let socket = directory.path().join("podman.sock");
        let mut service = podman(directory.path());
        service
            .args(["system", "service", "--time", "0"])
            .arg(format!("unix://{}", socket.display()));
        let log = std::fs::File::create(directory.path().join("service.log")).expect("a file for its messages");
        let service = service
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start Podman's service");
        let podman = Self { directory, service };
        wait::until("Podman to answer", PATIENCE, || {
            private_engine::ping(podman.socket().as_path()).ok()
        });
        let image = private_engine::busybox_tar(podman.directory.path()).expect("pack an image");
        podman.run(&["import", &image.to_string_lossy(), IMAGE]);
        podman
    }

    /// The socket that it listens on.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("podman.sock")
    }

    /// Runs `podman ARGS` and gives what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = podman(self.directory.path())
            .args(arguments)
            .output()
            .expect("run podman");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "podman {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Runs `sh -c SCRIPT` in a container of this name.
    pub fn run_script(&self, name: &str, script: &str) {
        let mut all = vec![
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            "none",
            "--log-driver",
            "k8s-file",
        ];
        // Its own wish is more than a machine may grant that is itself a container.
        all.extend(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]);
        all.extend([IMAGE, "sh", "-c", script]);
        self.run(&all);
    }
}

fn podman(directory: &Path) -> Command {
    let mut command = Command::new("podman");
    for (option, folder) in [("--root", "root"), ("--runroot", "runroot"), ("--tmpdir", "tmp")] {
        command.arg(option).arg(directory.join(folder));
    }
    command.args([
        "--storage-driver",
        "vfs",
        "--cgroup-manager",
        "cgroupfs",
        "--events-backend",
        "file",
    ]);
    command.args(["--runtime", "runc"]);
    command
}

impl Drop for Podman {
    fn drop(&mut self) {
        // What fails here is no matter of the test's.
        let _ = podman(self.directory.path())
            .args(["rm", "--all", "--force", "--time", "0"])
            .output();
        let _ = self.service.kill();
        let _ = self.service.wait();
    }
}
