//! The container that the agent itself runs in. To capture its own messages would be to
//! write a message for each message.

use tracing::warn;

use crate::engine::Engine;
use crate::record::ContainerId;

/// Warns if the engine keeps what the agent writes to its standard output. An engine that does not know the container, or
/// does not answer, is another one or will be heard of.
pub(super) async fn warn_of_own_log(engine: &Engine, own: &ContainerId) {
    match engine.log_driver(own).await {
        Ok(driver) if driver != "none" => warn!(
            driver,
            "a sink is standard output, which the engine writes to this container's own log: every line is stored twice; \
             use a sink of another type, or run the container with --log-driver none"
        ),
        _ => {}
    }
}

/// Its id, where there is one. The engine mounts `resolv.conf`, `hostname` and `hosts` from
/// `.../containers/<id>/` into every container; the cgroup path names it too, but not in a
/// cgroup namespace of its own.
pub(super) fn container() -> Option<ContainerId> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    find(&mounts, &cgroups)
}

fn find(mounts: &str, cgroups: &str) -> Option<ContainerId> {
    let mounted = mounts.lines().filter_map(|line| {
        // proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, ...
        let mut fields = line.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let ours = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&point);
        ours.then_some(root)
    });
    mounted
        .chain(cgroups.lines())
        .flat_map(|path| path.split(['/', '-', '.', ':']))
        .find(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(ContainerId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn found_in_mounts_and_cgroups() {
        let mount =
            |point: &str| format!("1 2 8:1 /var/lib/docker/containers/{ID}/hostname {point} rw - ext4 /dev/a rw");
        let found = find(&mount("/etc/hostname"), "0::/").unwrap();
        assert_eq!(found.as_str(), ID);
        // Another container's folder, mounted for a look.
        assert_eq!(find(&mount("/mnt/other"), "0::/"), None);
        for cgroup in [
            format!("4:memory:/docker/{ID}"),
            format!("0::/system.slice/docker-{ID}.scope"),
        ] {
            assert_eq!(find("", &cgroup).unwrap().as_str(), ID);
        }
        assert_eq!(find("", "0::/user.slice/user-0.slice"), None);
    }
}
