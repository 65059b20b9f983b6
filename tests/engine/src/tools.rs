//! Where a program is, also where PATH leaves out the system's own directories.

use std::ffi::OsString;
use std::path::PathBuf;

const SYSTEM: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// PATH, and after it the directories that an ordinary user's PATH may lack: dockerd and runc are in sbin.
pub(crate) fn search_path() -> OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if !path.is_empty() {
        path.push(":");
    }
    path.push(SYSTEM);
    path
}

/// The first program of that name.
pub fn find(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
}
