//! The container that the agent itself runs in. To capture its own messages would be to
//! write a message for each message.
//!
//! What `/proc` shows is a hint only: a container that shares the network of another one has the other's `/etc/hostname`.
//! So the engine is asked which of them it is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;
use tracing::{info, warn};

use crate::engine::{Engine, Inspected, Listed};
use crate::record::ContainerId;

/// How long the engine may take to describe one container.
const PATIENCE: Duration = Duration::from_secs(2);

/// Warns if the engine keeps what the agent writes to its standard output. An engine that does not know the container, or
/// does not answer, is another one or will be heard of.
pub(super) async fn warn_of_own_log(engine: &Engine, own: &ContainerId) {
    match engine.inspect(own).await {
        Ok(it) if it.log_driver != "none" => warn!(
            driver = it.log_driver,
            "a sink is standard output, which the engine writes to this container's own log: every line is stored twice; \
             use a sink of another type, or run the container with --log-driver none"
        ),
        _ => {}
    }
}

/// What the agent's own process shows of the container that it may run in.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// The ids in its cgroup's path, the innermost last. It has none in a cgroup namespace of its own.
    cgroups: Vec<ContainerId>,
    /// The ids in the paths of the files that the engine mounts into every container.
    mounts: Vec<ContainerId>,
    /// The folder that the container's own files are in, where overlayfs lays them over the image's.
    upper_dir: Option<PathBuf>,
    /// The agent's program and arguments, and those of the first process of its namespace.
    commands: Vec<Vec<String>>,
}

/// What the list says to the hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Own {
    /// The agent runs in no container of this engine.
    None,
    Container(ContainerId),
    /// It is one of these: the others share its network.
    OneOf(Vec<ContainerId>),
}

/// The agent's own container, as far as the engine has confirmed it.
#[derive(Debug, Default)]
pub(super) struct OwnContainer {
    hints: Option<Hints>,
    confirmed: Option<ContainerId>,
    /// It has been told that it cannot be told which it is.
    complained: bool,
}

impl OwnContainer {
    pub(super) fn is(&self, container: &ContainerId) -> bool {
        self.confirmed.as_ref() == Some(container)
    }

    pub(super) fn confirmed(&self) -> Option<&ContainerId> {
        self.confirmed.as_ref()
    }

    /// Whether the agent seems to run in a container, of whichever engine.
    pub(super) fn is_hinted(&mut self) -> bool {
        let hints = self.hints.get_or_insert_with(Hints::gather);
        !hints.cgroups.is_empty() || !hints.mounts.is_empty()
    }

    /// Looks for it in the list, and asks the engine more if others share its network.
    pub(super) async fn confirm(&mut self, engine: &Engine, listed: &[Listed]) {
        if self.confirmed.is_some() {
            return;
        }
        let hints = self.hints.get_or_insert_with(Hints::gather);
        let own = match hints.judge(listed) {
            Own::None => return,
            Own::Container(id) => Some(id),
            Own::OneOf(candidates) => {
                let mut described = Vec::new();
                for id in candidates {
                    // Without a word on one of them, the others still can be told apart.
                    if let Ok(Ok(it)) = timeout(PATIENCE, engine.inspect(&id)).await {
                        described.push((id, it));
                    }
                }
                hints.choose(described)
            }
        };
        match &own {
            Some(own) => info!(
                container = own.short(),
                "running in a container; its own log is not captured"
            ),
            None if !self.complained => {
                warn!(
                    "the agent runs in a container that shares its network with others, and cannot tell which of them it is: its \
                     own log is captured, too"
                );
                self.complained = true;
            }
            None => {}
        }
        self.confirmed = own;
    }
}

impl Hints {
    pub(super) fn gather() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mounts = read("/proc/self/mountinfo");
        Self {
            cgroups: ids(read("/proc/self/cgroup").lines()),
            mounts: mounted(&mounts),
            upper_dir: upper_dir(&mounts),
            commands: ["/proc/self/cmdline", "/proc/1/cmdline"]
                .map(|path| command(&read(path)))
                .into(),
        }
    }

    /// What the engine knows of those that are hinted at.
    pub(super) fn judge(&self, listed: &[Listed]) -> Own {
        let find = |id: &ContainerId| listed.iter().find(|listed| listed.container.id == *id);
        if let Some(own) = self.cgroups.iter().rev().find_map(find) {
            return Own::Container(own.container.id.clone());
        }
        let Some(hinted) = self.mounts.iter().find_map(find) else {
            return Own::None;
        };
        let mut candidates = vec![hinted.container.id.clone()];
        let sharing = listed
            .iter()
            .filter(|other| other.running && shares_network(other, hinted));
        candidates.extend(sharing.map(|other| other.container.id.clone()));
        match candidates.len() {
            1 => Own::Container(candidates.remove(0)),
            _ => Own::OneOf(candidates),
        }
    }

    /// Which of several it is, if their descriptions leave one only.
    pub(super) fn choose(&self, candidates: Vec<(ContainerId, Inspected)>) -> Option<ContainerId> {
        let has_own_files = |it: &Inspected| Some(self.upper_dir.as_deref()? == it.upper_dir.as_deref()?);
        let by_files = candidates.iter().find(|(_, it)| has_own_files(it) == Some(true));
        if let Some((id, _)) = by_files {
            return Some(id.clone());
        }
        let runs_agent = |it: &Inspected| self.commands.iter().any(|command| command.ends_with(&it.command));
        let mut fit = candidates
            .into_iter()
            .filter(|(_, it)| has_own_files(it) != Some(false) && runs_agent(it));
        let first = fit.next();
        first.filter(|_| fit.next().is_none()).map(|(id, _)| id)
    }
}

/// `container:` with an id, a part of one, or a name.
fn shares_network(other: &Listed, hinted: &Listed) -> bool {
    let Some(whose) = other.network_mode.strip_prefix("container:") else {
        return false;
    };
    !whose.is_empty() && (hinted.container.id.as_str().starts_with(whose) || hinted.container.name == whose)
}

/// The engine mounts `resolv.conf`, `hostname` and `hosts` from `.../containers/<id>/` into every container.
fn mounted(mounts: &str) -> Vec<ContainerId> {
    ids(mounts.lines().filter_map(|line| {
        let (root, point) = root_and_point(line)?;
        let ours = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"].contains(&point);
        ours.then_some(root)
    }))
}

/// proc_pid_mountinfo(5): id, parent, major:minor, root, mount point, ...
fn root_and_point(mount: &str) -> Option<(&str, &str)> {
    let mut fields = mount.split(' ').skip(3);
    Some((fields.next()?, fields.next()?))
}

fn upper_dir(mounts: &str) -> Option<PathBuf> {
    let root = mounts
        .lines()
        .rfind(|line| root_and_point(line).is_some_and(|(_, point)| point == "/"))?;
    let options = root.rsplit(' ').next()?;
    let dir = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    Some(Path::new(dir).to_owned())
}

fn ids<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<ContainerId> {
    paths
        .flat_map(|path| path.split(['/', '-', '.', ':']))
        .filter(|part| part.len() == 64 && part.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(ContainerId::new)
        .collect()
}

/// The words of the kernel's text, in which a zero ends each.
fn command(text: &str) -> Vec<String> {
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Container, Time};

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn listed(id: &str, name: &str, network_mode: &str) -> Listed {
        Listed {
            container: Container {
                id: ContainerId::new(id),
                name: name.into(),
                image: "image".into(),
                labels: Default::default(),
            },
            running: true,
            created: Time(0),
            network_mode: network_mode.into(),
            unread: Vec::new(),
        }
    }

    fn mount(point: &str) -> String {
        format!("1 2 8:1 /var/lib/docker/containers/{ID}/hostname {point} rw - ext4 /dev/a rw")
    }

    #[test]
    fn found_in_mounts_and_cgroups() {
        assert_eq!(mounted(&mount("/etc/hostname"))[0].as_str(), ID);
        // Another container's folder, mounted for a look.
        assert_eq!(mounted(&mount("/mnt/other")), []);
        for cgroup in [
            format!("4:memory:/docker/{ID}"),
            format!("0::/system.slice/docker-{ID}.scope"),
        ] {
            assert_eq!(ids(cgroup.lines())[0].as_str(), ID);
        }
        assert_eq!(ids("0::/user.slice/user-0.slice".lines()), []);
        let root = "1 2 0:5 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/var/lib/x/diff,workdir=/w";
        assert_eq!(upper_dir(root), Some("/var/lib/x/diff".into()));
        assert_eq!(upper_dir("1 2 0:5 / / rw - ext4 /dev/a rw"), None);
    }

    #[test]
    fn one_that_shares_anothers_network_is_not_taken_for_it() {
        let hints = Hints {
            mounts: mounted(&mount("/etc/hostname")),
            ..Hints::default()
        };
        let agent = "ab".repeat(32);
        let (vpn, alone) = (listed(ID, "vpn", "bridge"), listed(&agent, "agent", "bridge"));
        assert_eq!(hints.judge(&[]), Own::None, "another engine's container");
        let own = Own::Container(ContainerId::new(ID));
        assert_eq!(hints.judge(&[alone, vpn.clone()]), own);
        for mode in ["container:vpn", &format!("container:{ID}"), "container:0123456789ab"] {
            let both = hints.judge(&[listed(&agent, "agent", mode), vpn.clone()]);
            assert_eq!(both, Own::OneOf(vec![ContainerId::new(ID), ContainerId::new(&agent)]));
        }
        let by_cgroup = Hints {
            cgroups: vec![ContainerId::new("outer"), ContainerId::new(&agent)],
            ..hints
        };
        let sharing = [listed(&agent, "agent", "container:vpn"), vpn];
        assert_eq!(by_cgroup.judge(&sharing), Own::Container(ContainerId::new(&agent)));
    }

    #[test]
    fn files_and_command_tell_which_of_several_it_is() {
        let hints = Hints {
            upper_dir: Some("/agent".into()),
            commands: vec![command("lc\0run\0"), command("/sbin/docker-init\0--\0lc\0run\0")],
            ..Hints::default()
        };
        let candidate = |id: &str, dir: Option<&str>, words: &str| {
            let described = Inspected {
                upper_dir: dir.map(PathBuf::from),
                command: words.split(' ').map(str::to_owned).collect(),
                ..Inspected::default()
            };
            (ContainerId::new(id), described)
        };
        let chosen = |candidates| hints.choose(candidates).map(|id| id.as_str().to_owned());
        let by_files = vec![
            candidate("a", Some("/vpn"), "lc run"),
            candidate("b", Some("/agent"), "sh"),
        ];
        assert_eq!(chosen(by_files).as_deref(), Some("b"));
        let by_command = vec![candidate("a", None, "vpn up"), candidate("b", None, "lc run")];
        assert_eq!(chosen(by_command).as_deref(), Some("b"));
        let other_files = vec![candidate("a", Some("/vpn"), "lc run"), candidate("b", None, "lc run")];
        assert_eq!(chosen(other_files).as_deref(), Some("b"));
        assert_eq!(
            chosen(vec![candidate("a", None, "lc run"), candidate("b", None, "lc run")]),
            None
        );
        assert_eq!(chosen(vec![candidate("a", None, "x"), candidate("b", None, "y")]), None);
    }
}
