//! Faults inside the running agent, by a library that is preloaded into it.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::agent::Launch;
use crate::wait::{self, PATIENCE};
use crate::{preload, witness};

const SOURCE: &str = include_str!("shim.c");
const STEP: Duration = Duration::from_millis(10);

/// The library, compiled, and the files by which faults are planted.
pub struct Shim {
    directory: TempDir,
}

impl Shim {
    /// Builds the library; needs `gcc`.
    pub fn build() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the shim");
        preload::compile(directory.path(), "shim", SOURCE);
        Self { directory }
    }

    /// The agent with the library.
    pub fn preload(&self, launch: Launch) -> Launch {
        launch
            .environment("LD_PRELOAD", library(self.directory.path()))
            .environment("LEAK_SHIM", self.directory.path())
    }

    /// The next close of the agent's connection with the inode that `choose` gives is not made, though the agent believes
    /// so. Returns when that has happened, with what else was given. One that was closed before the agent could see the
    /// fault is followed by another choice.
    pub fn keep<T>(&self, agent: u32, mut choose: impl FnMut() -> (u64, T)) -> T {
        let start = Instant::now();
        loop {
            let (inode, chosen) = choose();
            let path = self.write("keep", &inode.to_string());
            // In this order: what is not closed stays open.
            while witness::socket_inodes(agent).contains(&inode) && path.exists() {
                assert!(start.elapsed() < PATIENCE, "no close of {inode} in {PATIENCE:?}");
                sleep(STEP);
            }
            if !path.exists() {
                return chosen;
            }
        }
    }

    /// From now on the agent does not hear of anything that comes on this connection, nor of its end.
    pub fn deafen(&self, inode: u64) {
        self.plant("deaf", inode);
    }

    /// From now on descriptors of these kinds (eventfd, pipe, file) are opened, ten a second, and not closed.
    pub fn leak(&self, kinds: &[&str]) {
        self.write("leak", &kinds.join(" "));
    }

    /// A descriptor of an eventfd is closed in a way that the ledger does not see. Returns when that has happened.
    pub fn lose(&self) {
        self.plant("lose", 1);
    }

    /// The agent has a hundred connections to that socket, of which it knows nothing, until [`Self::disperse`].
    pub fn crowd(&self, socket: &Path) {
        self.write("crowd", socket.to_str().expect("UTF-8"));
    }

    /// Ends the connections of [`Self::crowd`].
    pub fn disperse(&self) {
        fs::remove_file(self.directory.path().join("crowd")).expect("take the fault away");
    }

    /// Closes all that [`Self::leak`] has opened.
    pub fn release(&self) {
        fs::remove_file(self.directory.path().join("leak")).expect("take the fault away");
    }

    fn plant(&self, fault: &str, inode: u64) {
        let path = self.write(fault, &inode.to_string());
        wait::until(&format!("the fault {fault:?} to be made"), PATIENCE, || {
            (!path.exists()).then_some(())
        });
    }

    fn write(&self, fault: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(fault);
        let new = self.directory.path().join("new");
        fs::write(&new, text).expect("write the fault");
        // Whole at once: the agent reads it at any moment.
        fs::rename(&new, &path).expect("plant the fault");
        path
    }
}

fn library(directory: &Path) -> PathBuf {
    directory.join("shim.so")
}
