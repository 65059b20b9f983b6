//! What the kernel holds, in the agent's own words.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::{Duration, SystemTime},
};

pub use abi::{Cause, Kind, Mark, State};
use abi::{INET, INET6, Peer};

/// All that the kernel part knows at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Every connection that is live.
    pub connections: Vec<Connection>,
    /// The totals of every peer that was ever connected to.
    pub peers: Vec<PeerTotals>,
    /// errno → failed connects.
    pub connect_errors: Vec<(i32, u64)>,
    /// How full the maps are.
    pub maps: Vec<MapUsage>,
    /// All descriptors of the process.
    pub fds: Vec<KindTotals>,
    /// Entries of the ledger that were wrong, and were put right by a walk.
    pub repairs: Vec<(Cause, u64)>,
    /// What the kernel did not tell.
    pub missed: Vec<Missed>,
    /// Ages of the connections that were closed, from their opening on.
    pub ages: abi::Histogram,
    /// Times in `CLOSE_WAIT` of those where the peer had ended first, from its end on.
    pub close_waits: abi::Histogram,
}

/// The descriptors of one kind: `preexisting + opened − closed` are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindTotals {
    /// The kind of descriptor.
    pub kind: Kind,
    /// How many are open.
    pub open: u64,
    /// How many were open when the kernel part was attached.
    pub preexisting: u64,
    /// How many were opened since.
    pub opened: u64,
    /// How many were closed since, those from before included.
    pub closed: u64,
    /// The part of `opened` that was found in the process's table, because the call that made it has no hook.
    pub found: u64,
    /// Entries that were wrong, and were put right from the process's table.
    pub repaired: u64,
}

/// Events of which the kernel did not tell a program, because another task was preempted inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The program's name.
    pub program: String,
    /// How many, since the attach.
    pub events: u64,
}

/// Who else counts the process's descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// A walk of the kernel half through the process's table, which knows nothing of the ledger.
    Iterator,
    /// `/proc/self/fd`.
    Proc,
}

impl Witness {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Iterator, Self::Proc];

    /// The `witness` label of `kernel_drift`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iterator => "iterator",
            Self::Proc => "proc",
        }
    }
}

/// The ledger says this many more than the witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The witness that disagrees.
    pub witness: Witness,
    /// The kind of descriptor.
    pub kind: Kind,
    /// The ledger's count less the witness's.
    pub difference: i64,
}

/// The ledger of descriptors at a quiet moment, and where its witnesses counted otherwise then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What the ledger says of each kind.
    pub fds: Vec<KindTotals>,
    /// Where a witness disagrees; empty if all is well.
    pub drifts: Vec<Drift>,
}

impl Comparison {
    /// What a witness has counted of a kind.
    pub fn counted(&self, witness: Witness, totals: &KindTotals) -> u64 {
        let same = |drift: &&Drift| drift.witness == witness && drift.kind == totals.kind;
        let difference = self.drifts.iter().find(same).map_or(0, |drift| drift.difference);
        totals.open.saturating_add_signed(-difference)
    }
}

/// A connected socket that the process holds open.
#[derive(Clone, Debug)]
pub struct Connection {
    /// As in `/proc/self/fd`: `socket:[inode]`.
    pub inode: u64,
    /// The lowest descriptor of it.
    pub fd: i32,
    /// How many descriptors lead to it.
    pub descriptors: u32,
    /// As what its descriptors are counted.
    pub kind: Kind,
    /// Where it leads, as `ss` shows it.
    pub peer: String,
    /// When it was opened.
    pub opened: SystemTime,
    /// How long ago that was.
    pub age: Duration,
    /// What has become of it.
    pub state: State,
    /// Since the peer's end was first seen; none while it has not ended.
    pub ended: Option<Duration>,
    /// Who opened it; all zero where that was not said.
    pub mark: Mark,
}

/// `opened − closed` is what is live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTotals {
    /// Where they lead, as `ss` shows it; `other` for all peers for which there was no room.
    pub peer: String,
    /// How many connections were opened.
    pub opened: u64,
    /// How many of those were closed.
    pub closed: u64,
    /// The part of `closed` where the peer had ended first.
    pub closed_after_peer: u64,
}

/// How full a map of the kernel part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapUsage {
    /// Its name, as the label `map` has it.
    pub map: &'static str,
    /// How many entries it has.
    pub entries: u64,
    /// How many entries it has room for.
    pub capacity: u64,
    /// Entries refused: the map was full.
    pub failures: u64,
}

/// A path as it is; an abstract name with `@` for each zero byte, and address and port, as `ss` shows them.
pub(super) fn peer_name(peer: &Peer) -> String {
    let name = &peer.name[..usize::from(peer.len).min(peer.name.len())];
    match (peer.family, name) {
        (INET, &[high, low, a, b, c, d]) => {
            SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])).to_string()
        }
        (INET6, [high, low, address @ ..]) => {
            let address: [u8; 16] = address.try_into().unwrap_or_default();
            SocketAddr::new(Ipv6Addr::from(address).into(), u16::from_be_bytes([*high, *low])).to_string()
        }
        _ if *peer == Peer::OTHER => "other".into(),
        _ => String::from_utf8_lossy(name).replace('\0', "@"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX: u16 = 1;

    fn peer(family: u16, name: &[u8]) -> String {
        let mut peer = Peer {
            family,
            len: name.len() as u16,
            ..Peer::OTHER
        };
        peer.name[..name.len()].copy_from_slice(name);
        peer_name(&peer)
    }

    #[test]
    fn names_of_peers() {
        assert_eq!(peer(UNIX, b"/var/run/docker.sock"), "/var/run/docker.sock");
        assert_eq!(peer(UNIX, b"\0bus\0one"), "@bus@one");
        assert_eq!(peer(UNIX, b"/tmp/\xff"), "/tmp/\u{fffd}");
        assert_eq!(peer(INET, &[0x1f, 0x90, 127, 0, 0, 1]), "127.0.0.1:8080");
        let mut long = [0; 18];
        (long[1], long[17]) = (80, 1);
        assert_eq!(peer(INET6, &long), "[::1]:80");
        assert_eq!(peer_name(&Peer::OTHER), "other");
    }
}
