//! The repository's own files, as git knows them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cargo;

/// A file that is text.
pub struct Text {
    /// Below the repository's root.
    pub path: PathBuf,
    pub text: String,
}

/// Every file that is committed, or could be: what is ignored is left out.
pub fn paths() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(cargo::root())
        .output()?;
    ensure!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8_lossy(&output.stdout);
    let paths = names.split_terminator('\0').map(PathBuf::from);
    // One that was deleted is listed until the deletion is committed.
    Ok(paths.filter(|path| cargo::root().join(path).exists()).collect())
}

/// The files among them that are text.
pub fn texts() -> Result<Vec<Text>> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(cargo::root().join(&path)).ok()?;
        Some(Text { path, text })
    };
    Ok(paths()?.into_iter().filter_map(read).collect())
}
