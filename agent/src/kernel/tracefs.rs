//! Tracepoints have their numbers in tracefs. Where it is not mounted, it is mounted for one short-lived thread only, in a
//! mount namespace of its own: the host's mounts stay as they are.

use std::{io, path::Path, thread};

use rustix::{
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    thread::{UnshareFlags, unshare_unsafe},
};

use super::refusal::Refusal;

const MOUNT_POINT: &str = "/sys/kernel/tracing";
/// Before 4.1, and wherever someone mounted debugfs only.
const IN_DEBUGFS: &str = "/sys/kernel/debug/tracing";

/// Runs `work` where tracefs can be read, and tells it where that is.
///
/// aya looks for tracefs itself, once for the process's life (`find_tracefs_path`), so it must not be asked before.
pub fn with<T: Send>(work: impl FnOnce(&Path) -> Result<T, Refusal> + Send) -> Result<T, Refusal> {
    if let Some(mounted) = [MOUNT_POINT, IN_DEBUGFS]
        .map(Path::new)
        .into_iter()
        .find(|path| is_tracefs(path))
    {
        return work(mounted);
    }
    let in_namespace = move || {
        mount_privately().map_err(|error| {
            Refusal::new(
                format_args!("tracefs is not mounted; mount it at {MOUNT_POINT}"),
                &error,
            )
        })?;
        work(Path::new(MOUNT_POINT))
    };
    thread::scope(|scope| {
        let worker = thread::Builder::new()
            .name("tracefs".into())
            .spawn_scoped(scope, in_namespace);
        let worker = worker.map_err(|error| Refusal::new("start a thread", &error))?;
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A directory with `events` in it; without the right to look (mode 0700) still one that is there.
fn is_tracefs(path: &Path) -> bool {
    match path.join("events").metadata() {
        Ok(_) => true,
        Err(error) => error.kind() == io::ErrorKind::PermissionDenied && path != Path::new(IN_DEBUGFS),
    }
}

fn mount_privately() -> io::Result<()> {
    // SAFETY: only this thread's file-system context and mounts are set apart; no descriptor table is.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }?;
    // Or else the mount would propagate back.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(mount("nodev", MOUNT_POINT, "tracefs", MountFlags::empty(), None)?)
}
