//! Compiles the kernel half, with whichever of two compilers the machine has: `core` must be built for the BPF target, which a
//! stable toolchain of rustup cannot do.

use std::{
    env,
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};
use object::build::elf::{Builder, SectionData};

const TARGET: &str = "bpfel-unknown-none";
const PACKAGE: &str = "agent-ebpf";

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Compiler {
    /// A nightly of rustup with `rust-src`.
    Rustup,
    /// Debian's packages `rustc-web`, `cargo-web` and `rust-web-src`.
    Debian,
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rustup => "rustup's nightly",
            Self::Debian => "Debian's rustc",
        })
    }
}

const DEBIAN_CARGO: &str = "/usr/bin/cargo";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust/library/core";

/// Builds the object and returns where it is: where the agent's build script looks for it. `wanted` wins over the variable
/// `LOG_CAPTURER_EBPF_COMPILER`, and that over what is found.
pub fn build_ebpf(workspace: &Path, wanted: Option<Compiler>) -> Result<PathBuf> {
    let compiler = match wanted.map_or_else(from_variable, |compiler| Ok(Some(compiler)))? {
        Some(compiler) => compiler,
        None => find()?,
    };
    ensure!(linker().is_some(), "no bpf-linker: `cargo xtask setup` installs it");

    let target = target_directory(workspace);
    // Not the host's build directory: other flags would make cargo build one after the other anew.
    let build = target.join("ebpf-build");
    let mut cargo = cargo(compiler);
    cargo
        .current_dir(workspace)
        .args([
            "build",
            "--release",
            "--target",
            TARGET,
            "-Z",
            "build-std=core",
            "--package",
            PACKAGE,
        ])
        .arg("--target-dir")
        .arg(&build)
        .env("PATH", path_with_linker()?)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Cdebuginfo=2\u{1f}-Clink-arg=--btf");
    // Set by the `cargo run` that we are started by; they would lead cargo and rustc to the host's toolchain.
    for variable in [
        "RUSTUP_TOOLCHAIN",
        "CARGO",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTFLAGS",
    ] {
        cargo.env_remove(variable);
    }
    if compiler == Compiler::Debian {
        cargo.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    }
    let status = cargo.status().with_context(|| format!("start {cargo:?}"))?;
    ensure!(
        status.success(),
        "the kernel half did not compile ({compiler}): {status}"
    );

    let object = target.join("ebpf").join(PACKAGE);
    let built = build.join(TARGET).join("release").join(PACKAGE);
    replace(&built, &object)?;
    Ok(object)
}

fn cargo(compiler: Compiler) -> Command {
    match compiler {
        Compiler::Debian => Command::new(DEBIAN_CARGO),
        Compiler::Rustup => {
            let mut rustup = Command::new("rustup");
            rustup.args(["run", "nightly", "cargo"]);
            rustup
        }
    }
}

/// Leaves an object alone that is the same, so that the agent is not built anew for it.
fn replace(built: &Path, object: &Path) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("read {}", built.display()))?;
    let new = without_debug_info(&new).context("take the debug information out of the object")?;
    if fs::read(object).is_ok_and(|old| old == new) {
        return Ok(());
    }
    let directory = object.parent().context("has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    fs::write(object, new).with_context(|| format!("write {}", object.display()))
}

/// The kernel's kind of type information (BTF) is made from DWARF, which is of no use afterwards and three quarters of the object.
fn without_debug_info(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object)?;
    for section in &mut builder.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug_") || name.starts_with(".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM has one table for all strings; this writer wants the sections' names in another.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = object::elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// As `agent/build.rs` has it.
fn target_directory(workspace: &Path) -> PathBuf {
    workspace.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

fn from_variable() -> Result<Option<Compiler>> {
    const VARIABLE: &str = "LOG_CAPTURER_EBPF_COMPILER";
    match env::var(VARIABLE).ok().as_deref() {
        None | Some("") => Ok(None),
        Some("rustup") => Ok(Some(Compiler::Rustup)),
        Some("debian") => Ok(Some(Compiler::Debian)),
        Some(other) => bail!("{VARIABLE}={other}: it is `rustup` or `debian`"),
    }
}

fn find() -> Result<Compiler> {
    if has_nightly() {
        Ok(Compiler::Rustup)
    } else if [DEBIAN_CARGO, DEBIAN_RUSTC, DEBIAN_SOURCES]
        .iter()
        .all(|path| Path::new(path).exists())
    {
        Ok(Compiler::Debian)
    } else {
        bail!(
            "no eBPF compiler: neither a nightly of rustup with rust-src nor Debian's rustc-web, cargo-web and rust-web-src; \
             `cargo xtask setup` installs one"
        )
    }
}

fn has_nightly() -> bool {
    Command::new("rustup")
        .args(["component", "list", "--installed", "--toolchain", "nightly"])
        .output()
        .is_ok_and(|output| {
            output.status.success()
                && output
                    .stdout
                    .split(|&byte| byte == b'\n')
                    .any(|line| line == b"rust-src")
        })
}

/// `cargo install` puts it where a login shell looks, which is not always where we were started from.
fn linker() -> Option<PathBuf> {
    search_path()
        .into_iter()
        .map(|directory| directory.join("bpf-linker"))
        .find(|path| path.is_file())
}

fn search_path() -> Vec<PathBuf> {
    let mut directories: Vec<_> = env::var_os("PATH").iter().flat_map(env::split_paths).collect();
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| env::home_dir().map(|home| home.join(".cargo")));
    directories.extend(cargo_home.map(|home| home.join("bin")));
    directories
}

fn path_with_linker() -> Result<OsString> {
    env::join_paths(search_path()).context("PATH")
}
