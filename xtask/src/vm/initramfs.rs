//! The virtual machine's file system: busybox, the tests, the tools that they call, and the libraries of all of them.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use private_engine::find_tool;
use walkdir::WalkDir;

const INIT: &str = include_str!("init.sh");

/// Where busybox has one of that name, it lacks options that the tests use.
const TOOLS: [&str; 4] = ["ss", "strace", "unshare", "setpriv"];

/// Packs it into `<directory>/initramfs`.
pub fn pack(directory: &Path, tests: &Path, modules: &[PathBuf], filters: &[&str]) -> Result<PathBuf> {
    let busybox = tool("busybox")?;
    let root = directory.join("root");
    let _ = fs::remove_dir_all(&root);
    place(&busybox, &root.join("bin/busybox"))?;
    std::os::unix::fs::symlink("busybox", root.join("bin/sh"))?;
    place(tests, &root.join("kernel-tests"))?;
    let mut libraries = libraries(tests)?;
    for name in TOOLS {
        let tool = tool(name)?;
        place(&tool, &root.join("tools").join(name))?;
        libraries.extend(self::libraries(&tool)?);
    }
    for library in libraries {
        place(&library, &root.join(library.strip_prefix("/")?))?;
    }
    for (number, module) in modules.iter().enumerate() {
        place_module(&busybox, module, &root.join(format!("modules/{number}.ko")))?;
    }
    fs::write(root.join("filters"), filters.join(" "))?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;

    let archive = directory.join("initramfs");
    archive_to(&busybox, &root, &archive)?;
    fs::remove_dir_all(&root)?;
    Ok(archive)
}

fn tool(name: &str) -> Result<PathBuf> {
    find_tool(name).with_context(|| format!("no {name} on this machine, which the tests call"))
}

fn place(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().context("has a parent")?)?;
    fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
    Ok(())
}

/// Unpacked: busybox's `insmod` takes no other.
fn place_module(busybox: &Path, from: &Path, to: &Path) -> Result<()> {
    if from.extension().is_none_or(|extension| extension != "xz") {
        return place(from, to);
    }
    fs::create_dir_all(to.parent().context("has a parent")?)?;
    let mut xzcat = Command::new(busybox);
    let status = xzcat.arg("xzcat").arg(from).stdout(File::create(to)?).status()?;
    ensure!(status.success(), "busybox xzcat {}: {status}", from.display());
    Ok(())
}

/// The shared libraries of a program, the loader among them; none for a static one.
fn libraries(program: &Path) -> Result<BTreeSet<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("ldd")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(!said.contains("not found"), "{}: {said}", program.display());
    Ok(said
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect())
}

/// By busybox, which is here anyway: the form that the kernel takes is called `newc`.
fn archive_to(busybox: &Path, root: &Path, archive: &Path) -> Result<()> {
    let mut cpio = Command::new(busybox)
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(File::create(archive)?)
        .stderr(Stdio::null())
        .spawn()
        .context("busybox")?;
    let mut names = cpio.stdin.take().context("piped")?;
    for entry in WalkDir::new(root).min_depth(1).sort_by_file_name() {
        writeln!(names, "{}", entry?.path().strip_prefix(root)?.display())?;
    }
    drop(names);
    let status = cpio.wait()?;
    ensure!(status.success(), "busybox cpio: {status}");
    Ok(())
}
