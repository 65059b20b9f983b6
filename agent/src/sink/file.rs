//! A file that records are appended to.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::Sink;

#[derive(Debug)]
pub struct File {
    file: std::fs::File,
}

impl File {
    /// Opens it for appending. Logs can hold secrets: a new file is its owner's alone.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { file })
    }
}

impl Sink for File {
    fn name(&self) -> &str {
        "file"
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    /// A full disk can get room again.
    fn is_fatal(&self, _: &io::Error) -> bool {
        false
    }
}
