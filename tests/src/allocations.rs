//! How often the running agent allocates, counted by a library that is preloaded into it.

use std::fs;

use tempfile::TempDir;

use crate::agent::Launch;
use crate::preload;

const SOURCE: &str = include_str!("allocations.c");

pub struct Allocations {
    directory: TempDir,
}

impl Allocations {
    /// Builds the library; needs `gcc`.
    pub fn build() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the library");
        preload::compile(directory.path(), "allocations", SOURCE);
        Self { directory }
    }

    pub fn preload(&self, launch: Launch) -> Launch {
        launch
            .environment("LD_PRELOAD", self.directory.path().join("allocations.so"))
            .environment("ALLOCATIONS", self.directory.path().join("count"))
    }

    /// Calls of `malloc`, `calloc`, `realloc` and the like since the agent's start.
    pub fn count(&self) -> u64 {
        let bytes = fs::read(self.directory.path().join("count")).expect("the library's count");
        u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }
}
