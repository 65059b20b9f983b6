//! Packages of another suite than the machine's own, by an apt that has its own lists and settings: nothing of the machine's
//! is read but where its mirror is, and nothing of it is changed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::debian;
use crate::cargo;

const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

pub struct Source(PathBuf);

impl Source {
    /// With this suite's lists of now, in this directory.
    pub fn new(directory: &Path, suite: &str) -> Result<Self> {
        for inner in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(inner))?;
        }
        let line = format!("deb [signed-by={KEYS}] {} {suite} main\n", mirror()?);
        fs::write(directory.join("sources.list"), line)?;
        fs::write(directory.join("status"), "")?;
        let source = Self(directory.to_owned());
        cargo::run(source.apt("apt-get").args(["update", "--quiet"]))?;
        Ok(source)
    }

    /// The names of packages that begin so.
    pub fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let said = output(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(said.lines().map(str::to_owned).collect())
    }

    /// What a package depends on.
    pub fn needed_by(&self, package: &str) -> Result<Vec<String>> {
        let said = output(self.apt("apt-cache").args(["depends", "--important", package]))?;
        let needed = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(needed.map(str::to_owned).collect())
    }

    pub fn unpack(&self, packages: &[String], directory: &Path) -> Result<()> {
        debian::unpack_by(|| self.apt("apt-get"), packages, directory)
    }

    fn apt(&self, program: &str) -> Command {
        let inner = |name: &str| self.0.join(name).into_os_string();
        let settings = [
            ("Dir::State", self.0.clone().into_os_string()),
            ("Dir::State::Lists", inner("lists")),
            ("Dir::State::status", inner("status")),
            ("Dir::Cache", inner("cache")),
            ("Dir::Etc::SourceList", inner("sources.list")),
            ("Dir::Etc::SourceParts", "/dev/null".into()),
            ("Dir::Etc::Preferences", "/dev/null".into()),
            ("Dir::Etc::PreferencesParts", "/dev/null".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
        ];
        let mut command = Command::new(program);
        for (name, value) in settings {
            let mut setting = OsString::from(format!("{name}="));
            setting.push(value);
            command.arg("-o").arg(setting);
        }
        command
    }
}

/// Where the machine has Debian from.
pub fn mirror() -> Result<String> {
    let said = output(Command::new("apt-get").args(["indextargets", "--format", "$(SITE)"]))?;
    let mut sites = said.lines();
    // Beside it there is one for security.
    let mirror = sites.find(|site| site.trim_end_matches('/').ends_with("/debian"));
    mirror.map(str::to_owned).context("apt knows no mirror of Debian")
}

fn output(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&cargo::output(command)?).into_owned())
}
