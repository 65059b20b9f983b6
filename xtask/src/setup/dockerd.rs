//! Engines newer than the machine's own. Debian's packages of them run on Debian 12 as they are, with its containerd and runc,
//! so they are unpacked, not installed.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use private_engine::find_tool;

use super::source::Source;
use crate::{cargo, say};

const PACKAGE: &str = "docker.io";

/// Which engine.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one that the machine has.
    Installed,
    /// Debian 13's, 26.1.
    Trixie,
    /// The one of Debian's next release, which moves: 28 in 2026.
    Forky,
}

/// A `dockerd`.
pub struct Dockerd {
    folder: PathBuf,
    version: String,
}

impl Dockerd {
    /// Unpacks it where it is not there yet.
    pub fn get(which: Which) -> Result<Self> {
        let folder = match which {
            Which::Installed => {
                let program =
                    find_tool("dockerd").context("no dockerd on this machine: `cargo xtask setup` gets one")?;
                program.parent().context("a program lies in a folder")?.to_owned()
            }
            Which::Trixie => unpacked("trixie")?,
            Which::Forky => unpacked("forky")?,
        };
        let output = Command::new(folder.join("dockerd")).arg("--version").output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = version(&said).with_context(|| format!("`dockerd --version` said {said:?}"))?;
        Ok(Self {
            folder,
            version: version.to_owned(),
        })
    }

    /// Lets the tests that a command runs start this one: the first in PATH is theirs.
    pub fn use_in(&self, command: &mut Command) -> Result<()> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.clone()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders)?);
        Ok(())
    }
}

impl fmt::Display for Dockerd {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "Engine {}", self.version)
    }
}

/// The folder with the program.
fn unpacked(suite: &str) -> Result<PathBuf> {
    let engines = cargo::target_dir()?.join("engines");
    let root = engines.join(suite);
    let folder = root.join("usr/sbin");
    if !folder.join("dockerd").is_file() {
        std::fs::create_dir_all(&engines)?;
        let lists = tempfile::tempdir_in(&engines)?;
        say::step(&format!("unpacking {PACKAGE} of Debian {suite}, for the tests only"));
        let source = Source::new(lists.path(), suite)?;
        source.unpack(&[PACKAGE.to_owned()], &root)?;
        ensure!(
            folder.join("dockerd").is_file(),
            "no dockerd in {PACKAGE} of Debian {suite}"
        );
    }
    Ok(folder)
}

/// From `Docker version 26.1.5+dfsg1, build a72d7cd`.
fn version(said: &str) -> Option<&str> {
    said.strip_prefix("Docker version ")?.split([',', '+', '~', '-']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_without_what_debian_adds() {
        assert_eq!(version("Docker version 26.1.5+dfsg1, build a72d7cd\n"), Some("26.1.5"));
        assert_eq!(
            version("Docker version 20.10.24+dfsg1, build 5d6db84"),
            Some("20.10.24")
        );
        assert_eq!(version("dockerd: not found"), None);
    }
}
