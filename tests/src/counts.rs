//! How often the running agent allocates and how much it copies, counted by a library that is preloaded into it.

use std::fs;

use tempfile::TempDir;

use crate::agent::Launch;
use crate::preload;

const SOURCE: &str = include_str!("counts.c");

/// The counts of an agent up to now.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Calls of `malloc`, `calloc`, `realloc` and the like.
    pub allocations: u64,
    /// Bytes that `memcpy` and `memmove` have copied.
    pub copied: u64,
}

/// The library, compiled, and what it counts.
pub struct Counts {
    directory: TempDir,
}

impl Counts {
    /// Builds the library; needs `gcc`.
    pub fn build() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the library");
        preload::compile(directory.path(), "counts", SOURCE);
        Self { directory }
    }

    /// The agent with the library.
    pub fn preload(&self, launch: Launch) -> Launch {
        launch
            .environment("LD_PRELOAD", self.directory.path().join("counts.so"))
            .environment("COUNTS", self.directory.path().join("count"))
    }

    /// Since the agent's start.
    pub fn now(&self) -> Now {
        let bytes = fs::read(self.directory.path().join("count")).expect("the library's counts");
        let count = |at| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Now {
            allocations: count(0),
            copied: count(8),
        }
    }
}
