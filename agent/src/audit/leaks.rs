//! What is leaked: held by the kernel, and of no use to anybody in the agent.
//!
//! Each scan holds the kernel's ledger against the register, by inode. What looks leaked must go on looking so for a
//! while before it is called a leak: between two system calls everything is in flight.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::mark;
use crate::kernel::{Connection, State};
use crate::register::{Held, Inode, Opening};

/// Why a connection is leaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The kernel holds it, and the register has struck it out: nobody will close it.
    Orphan,
    /// The peer has ended, the agent has read that, and has not closed.
    EofReadNotClosed,
    /// The peer has ended, and the agent has not read as far.
    EofNeverRead,
    /// The peer has ended, and the container that it was for has been removed.
    ContainerGone,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 4] = [
        Reason::Orphan,
        Reason::EofReadNotClosed,
        Reason::EofNeverRead,
        Reason::ContainerGone,
    ];

    /// The `reason` label of `leaked_connections`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Orphan => "orphan",
            Reason::EofReadNotClosed => "eof_read_not_closed",
            Reason::EofNeverRead => "eof_never_read",
            Reason::ContainerGone => "container_gone",
        }
    }
}

/// How long something must look leaked.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection that the register does not know.
    pub orphan: Duration,
    /// For one of which the peer has ended.
    pub half_closed: Duration,
}

/// A leaked connection.
#[derive(Clone, Debug)]
pub struct Leak {
    /// The connection, as the kernel holds it.
    pub connection: Connection,
    /// Why it is a leak.
    pub reason: Reason,
    /// Since when it has looked so, to within a scan.
    pub since: Instant,
    /// As the register knows it, or knew it last, or as the kernel's ledger has it marked.
    pub opening: Option<Opening>,
}

/// Something that looks leaked.
#[derive(Debug)]
struct Suspect {
    reason: Reason,
    since: Instant,
    /// Counted as a leak.
    told: bool,
}

/// Holds the ledger against the register, scan by scan.
#[derive(Debug)]
pub struct Detector {
    patience: Patience,
    suspects: HashMap<Inode, Suspect>,
    /// Who opened what was seen in the last scan: an orphan's owner is asked for after the register forgot it.
    openings: HashMap<Inode, Opening>,
}

impl Detector {
    /// A detector that has seen no scan.
    pub fn new(patience: Patience) -> Self {
        Self {
            patience,
            suspects: HashMap::new(),
            openings: HashMap::new(),
        }
    }

    /// All leaks of now; `newly` is told of each that was not one at the last scan.
    pub fn scan(
        &mut self,
        connections: &[Connection],
        held: &[Held],
        now: Instant,
        mut newly: impl FnMut(&Leak),
    ) -> Vec<Leak> {
        let held: HashMap<Inode, &Held> = held.iter().map(|held| (held.inode, held)).collect();
        let mut leaks = Vec::new();
        let mut suspects = HashMap::new();
        let mut openings = HashMap::new();
        for connection in connections {
            let inode = connection.inode;
            let known = held.get(&inode).copied();
            let opening = known
                .map(|held| held.opening.clone())
                .or_else(|| self.openings.remove(&inode))
                .or_else(|| mark::opening(&connection.mark));
            if let Some(opening) = &opening {
                openings.insert(inode, opening.clone());
            }
            let Some(reason) = suspicion(connection, known) else {
                continue;
            };
            let before = self.suspects.remove(&inode).filter(|suspect| suspect.reason == reason);
            let mut suspect = before.unwrap_or(Suspect {
                reason,
                since: now,
                told: false,
            });
            let patience = match reason {
                Reason::Orphan => self.patience.orphan,
                _ => self.patience.half_closed,
            };
            if now.duration_since(suspect.since) >= patience {
                let leak = Leak {
                    connection: connection.clone(),
                    reason,
                    since: suspect.since,
                    opening,
                };
                if !suspect.told {
                    newly(&leak);
                }
                suspect.told = true;
                leaks.push(leak);
            }
            suspects.insert(inode, suspect);
        }
        self.suspects = suspects;
        self.openings = openings;
        leaks
    }
}

/// Whether a connection looks leaked.
fn suspicion(connection: &Connection, held: Option<&Held>) -> Option<Reason> {
    let Some(held) = held else {
        return Some(Reason::Orphan);
    };
    let ended = connection.state != State::Established;
    if !ended || held.waits_for_room {
        // Nobody reads while the sinks have no room; that is told elsewhere, and no leak.
        return None;
    }
    Some(match held {
        Held {
            container_gone: true, ..
        } => Reason::ContainerGone,
        Held { eof_read: true, .. } => Reason::EofReadNotClosed,
        _ => Reason::EofNeverRead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ContainerId;
    use crate::register::Site;
    use std::time::SystemTime;

    const PATIENCE: Patience = Patience {
        orphan: Duration::from_secs(5),
        half_closed: Duration::from_secs(30),
    };

    fn connection(inode: Inode, state: State) -> Connection {
        Connection {
            inode,
            fd: 7,
            descriptors: 1,
            kind: crate::kernel::Kind::Unix,
            peer: "/run/docker.sock".into(),
            opened: SystemTime::UNIX_EPOCH,
            age: Duration::ZERO,
            ended: (state != State::Established).then_some(Duration::ZERO),
            state,
            mark: crate::kernel::Mark::default(),
        }
    }

    fn held(inode: Inode) -> Held {
        Held {
            inode,
            fd: 7,
            opening: Opening {
                site: Site::Follow,
                container: Some(ContainerId::new("abc")),
            },
            opened: Instant::now(),
            eof_read: false,
            waits_for_room: false,
            container_gone: false,
        }
    }

    /// Scans every second for `seconds`; gives when each leak was first told, and the last scan's leaks.
    fn watch(connections: &[Connection], held: &[Held], seconds: u64) -> (Vec<(u64, Reason)>, Vec<Leak>) {
        let start = Instant::now();
        let mut detector = Detector::new(PATIENCE);
        let mut told = Vec::new();
        let mut leaks = Vec::new();
        for second in 0..seconds {
            let now = start + Duration::from_secs(second);
            leaks = detector.scan(connections, held, now, |leak| told.push((second, leak.reason)));
        }
        (told, leaks)
    }

    #[test]
    fn each_reason_is_told_once_and_in_time() {
        let half = connection(1, State::HalfClosed);
        let eof_read = Held {
            eof_read: true,
            ..held(1)
        };
        let gone = Held {
            eof_read: true,
            container_gone: true,
            ..held(1)
        };
        for (connections, held, told) in [
            (connection(1, State::Established), vec![], (5, Reason::Orphan)),
            (half.clone(), vec![held(1)], (30, Reason::EofNeverRead)),
            (
                connection(1, State::PeerGone),
                vec![eof_read],
                (30, Reason::EofReadNotClosed),
            ),
            (half, vec![gone], (30, Reason::ContainerGone)),
        ] {
            let (first, leaks) = watch(&[connections], &held, 60);
            assert_eq!(first, [told]);
            assert_eq!(leaks.len(), 1);
        }
    }

    #[test]
    fn ordinary_life_is_no_leak() {
        let all = [connection(1, State::Established), connection(2, State::HalfClosed)];
        let stalled = Held {
            waits_for_room: true,
            ..held(2)
        };
        let (told, leaks) = watch(&all, &[held(1), stalled], 100);
        assert!(told.is_empty() && leaks.is_empty());
    }

    #[test]
    fn what_ends_in_time_is_forgotten() {
        let start = Instant::now();
        let mut detector = Detector::new(PATIENCE);
        let orphan = [connection(1, State::Established)];
        let mut scan = |second, connections: &[Connection]| {
            let now = start + Duration::from_secs(second);
            detector.scan(connections, &[], now, |_| {}).len()
        };
        assert_eq!(scan(0, &orphan), 0);
        assert_eq!(scan(4, &[]), 0);
        // The inode's next life has a clock of its own.
        assert_eq!(scan(5, &orphan), 0);
        assert_eq!(scan(10, &orphan), 1);
        assert_eq!(scan(11, &[]), 0);
    }

    #[test]
    fn an_orphan_is_told_with_who_opened_it() {
        let start = Instant::now();
        let mut detector = Detector::new(PATIENCE);
        let one = [connection(1, State::Established)];
        detector.scan(&one, &[held(1)], start, |_| {});
        for second in 1..20 {
            let leaks = detector.scan(&one, &[], start + Duration::from_secs(second), |_| {});
            for leak in leaks {
                let opening = leak.opening.expect("known from the register's time");
                assert_eq!(opening.site, Site::Follow);
                assert_eq!(opening.container, Some(ContainerId::new("abc")));
            }
        }
    }
}
