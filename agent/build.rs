//! Embeds the kernel part, if it was built, and the revision. `cargo build` alone must not need an eBPF compiler.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(kernel_part)");
    println!("cargo::rerun-if-env-changed=LOG_CAPTURER_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let object = env::var_os("LOG_CAPTURER_EBPF_OBJECT").map_or_else(built, PathBuf::from);
    if object.is_file() {
        println!("cargo::rustc-cfg=kernel_part");
        println!("cargo::rustc-env=LOG_CAPTURER_EBPF_OBJECT={}", object.display());
        println!("cargo::rerun-if-changed={}", object.display());
    }
    println!("cargo::rerun-if-env-changed=LOG_CAPTURER_REVISION");
    let revision = env::var("LOG_CAPTURER_REVISION").ok().filter(|told| !told.is_empty());
    let revision = revision.or_else(commit).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=LOG_CAPTURER_REVISION={revision}");
}

/// The commit that is checked out. Not for a debug build: each commit would compile the agent anew.
fn commit() -> Option<String> {
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        return None;
    }
    // Git appends a line to it whenever HEAD comes to another commit.
    let moves = git(&["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"])?;
    if Path::new(&moves).is_file() {
        println!("cargo::rerun-if-changed={moves}");
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}

/// Where `cargo xtask build-ebpf` leaves the object.
fn built() -> PathBuf {
    let workspace = Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    let directory = workspace.join(target).join("ebpf");
    // Cargo takes a missing file as changed at every build, and would compile the agent each time: so the directory is
    // what it watches until the object is there.
    if fs::create_dir_all(&directory).is_ok() {
        println!("cargo::rerun-if-changed={}", directory.display());
    }
    directory.join("agent-ebpf")
}
