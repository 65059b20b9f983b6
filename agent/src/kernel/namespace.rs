//! A short-lived thread with mounts of its own, where tracefs can be mounted; the host's mounts stay as they are.

#![expect(unsafe_code, reason = "a thread leaves the namespaces that its process shares")]

use std::{io, path::Path, thread};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::refusal::Refusal;

const TRACEFS: &str = "/sys/kernel/tracing";
/// Where it is when someone mounted debugfs only.
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";
const BTF: &str = "/sys/kernel/btf";

/// What the thread may do with its mounts.
pub(super) struct Aside(rustix::io::Result<()>);

/// Runs `work` where mounts are of no consequence to anybody. A thread without the right to mount (CAP_SYS_ADMIN) has to be
/// content with what is there.
pub(super) fn aside<T: Send>(work: impl FnOnce(&Aside) -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    let inside = move || {
        let own = own_mounts();
        if own.is_ok() {
            hide_btf();
        }
        work(&Aside(own))
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("kernel-attach".into())
            .spawn_scoped(scope, inside);
        let thread = thread.map_err(|error| Refusal::new("start a thread", &error))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Aside {
    /// Where tracefs can be read.
    pub(super) fn tracefs(&self) -> Result<&'static Path, Refusal> {
        if let Some(mounted) = [TRACEFS, IN_DEBUGFS]
            .map(Path::new)
            .into_iter()
            .find(|path| is_tracefs(path))
        {
            return Ok(mounted);
        }
        self.0
            .and_then(|()| mount("nodev", TRACEFS, "tracefs", MountFlags::empty(), None))
            .map_err(|error| Refusal::new("mount tracefs, which the host has not mounted", &io::Error::from(error)))?;
        Ok(Path::new(TRACEFS))
    }
}

fn own_mounts() -> rustix::io::Result<()> {
    // SAFETY: only this thread's file-system context and mounts are set apart; no descriptor table is.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }?;
    // Or else what is mounted here would propagate back.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// aya parses all of the kernel's BTF with every `EbpfLoader::new`, which costs 15 MiB and 70 ms and is of no use to programs
/// without BTF relocations. What it does not find it does without.
fn hide_btf() {
    if let Err(error) = mount("nodev", BTF, "tmpfs", MountFlags::empty(), None) {
        tracing::debug!("cannot hide {BTF} from aya: {error}");
    }
}

/// A directory with `events` in it; without the right to look (its mode is 0700) still one that is there.
fn is_tracefs(path: &Path) -> bool {
    match path.join("events").metadata() {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && path == Path::new(TRACEFS),
    }
}
