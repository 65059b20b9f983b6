//! Debian packages. Made for Debian 12; on anything else it names them and leaves the rest to the user.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use private_engine::find_tool;

use crate::{cargo, say};

pub struct Package {
    name: &'static str,
    sign: Sign,
}

/// What shows that a package, or something as good, is there.
enum Sign {
    Program(&'static str),
    /// Only the package itself will do: the program of that name may be another one.
    Installed,
}

const fn program(name: &'static str, program: &'static str) -> Package {
    Package {
        name,
        sign: Sign::Program(program),
    }
}

const fn package(name: &'static str) -> Package {
    Package {
        name,
        sign: Sign::Installed,
    }
}

/// rustc and cargo with the sources of `core`, and the LLVM that they are linked with.
pub const EBPF_COMPILER: &[Package] = &[
    package("rustc-web"),
    package("cargo-web"),
    package("rust-web-src"),
    package("llvm-22-dev"),
    package("libpolly-22-dev"),
];

/// A machine often has the `docker` client alone: the engine is what counts.
pub const ENGINE: &[Package] = &[program("docker.io", "dockerd"), package("busybox-static")];

pub const PODMAN: &[Package] = &[program("podman", "podman")];

pub const WITNESSES: &[Package] = &[
    program("iproute2", "ss"),
    program("strace", "strace"),
    program("bpftool", "bpftool"),
    program("prometheus", "promtool"),
    program("prometheus-alertmanager", "prometheus-alertmanager"),
];

pub const EMULATOR: &[Package] = &[package("busybox-static")];

/// A Debian without the C compiler has no static C library either.
pub const PEERS: &[Package] = &[
    program("curl", "curl"),
    package("libc6-dev"),
    program("valgrind", "valgrind"),
];

pub const IMAGE: &[Package] = &[program("debootstrap", "debootstrap")];

pub const FUZZER: &[Package] = &[program("g++", "g++")];

impl Package {
    fn is_there(&self) -> bool {
        match self.sign {
            Sign::Program(name) => find_tool(name).is_some(),
            Sign::Installed => {
                let query = Command::new("dpkg-query")
                    .args(["-W", "-f=${db:Status-Status}", self.name])
                    .output();
                query.is_ok_and(|output| output.stdout == b"installed")
            }
        }
    }
}

pub fn install(packages: &[Package], why: &str) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !package.is_there())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if find_tool("apt-get").is_none() {
        bail!("no apt-get here: install what Debian 12 calls {names}, by this system's own means");
    }
    if !rustix::process::geteuid().is_root() {
        bail!("not root: run `sudo apt-get install --no-install-recommends {names}`, then this again");
    }
    say::step(&format!("installing Debian packages for {why}: {names}"));
    if let Some(service) = service_started(&missing) {
        say::step(&format!(
            "Debian starts the service {service} with its package; `systemctl disable --now` stops it"
        ));
    }
    update()?;
    // --no-remove: a package of the user's that stands in the way is theirs to remove.
    let options = ["install", "--yes", "--quiet", "--no-install-recommends", "--no-remove"];
    cargo::run(apt_get().args(options).args(missing))
}

/// Nothing here wants the services, but a host run by systemd starts them at the install.
fn service_started(packages: &[&str]) -> Option<&'static str> {
    let by_systemd = std::path::Path::new("/run/systemd/system").exists();
    ["docker.io", "prometheus", "prometheus-alertmanager"]
        .into_iter()
        .find(|service| by_systemd && packages.contains(service))
}

/// That package, and those it needs that are not on this machine. What would have to go for it stays out of account.
pub fn not_installed(package: &str) -> Result<Vec<String>> {
    update()?;
    let mut simulate = apt_get();
    simulate.args(["--simulate", "install", "--no-install-recommends", package]);
    let output = simulate.output().context("apt-get")?;
    if !output.status.success() {
        bail!("apt-get: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let names = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split(' ').next().map(str::to_owned))
        .collect();
    Ok(names)
}

/// Unpacks packages into a directory of their own. It is there when it is whole: half of it would be taken for all.
pub fn unpack(packages: &[String], directory: &Path) -> Result<()> {
    unpack_by(apt_get, packages, directory)
}

/// The same, by an apt with other settings.
pub fn unpack_by(apt_get: impl Fn() -> Command, packages: &[String], directory: &Path) -> Result<()> {
    let parent = directory.parent().context("has a parent")?;
    fs::create_dir_all(parent)?;
    let download = tempfile::tempdir_in(parent)?;
    let whole = download.path().join("whole");
    cargo::run(
        apt_get()
            .args(["download", "--quiet"])
            .args(packages)
            .current_dir(download.path()),
    )?;
    // Listed before `whole` is among them.
    let archives: Vec<_> = fs::read_dir(download.path())?.collect::<Result<_, _>>()?;
    for archive in archives {
        cargo::run(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(archive.path())
                .arg(&whole),
        )?;
    }
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    Ok(fs::rename(whole, directory)?)
}

/// Once a run.
pub fn update() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        cargo::run(apt_get().args(["update", "--quiet"]))?;
        DONE.get_or_init(|| ());
    }
    Ok(())
}

pub fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    // Another apt may be at work, on a machine that has just started for one.
    command
        .args(["-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0"])
        .env("DEBIAN_FRONTEND", "noninteractive");
    command
}
