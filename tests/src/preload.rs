//! Small libraries in C that are preloaded into the agent. Needs `gcc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles `source` into the directory.
pub fn compile(directory: &Path, name: &str, source: &str) -> PathBuf {
    let file = directory.join(name).with_extension("c");
    fs::write(&file, source).expect("write the source");
    let library = file.with_extension("so");
    let output = Command::new("gcc")
        .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
        .arg(&library)
        .arg(&file)
        .output()
        .expect("run gcc");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "gcc: {said}");
    library
}
