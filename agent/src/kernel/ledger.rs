//! From the kernel's maps to a [`Snapshot`].

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use abi::{Answer, ERRNOS, LIMITED, Limited, Peer, State, Totals};
use aya::{
    Ebpf,
    maps::{Array, HashMap, Map, MapData, MapError},
    programs::RawTracePoint,
};
use rustix::time::{ClockId, clock_gettime};

use super::{
    descriptors::Descriptors,
    loader::{Settings, ask},
    refusal::Refusal,
    snapshot::{Connection, MapUsage, PeerTotals, Snapshot, peer_name},
};

/// The maps, as the agent reads them.
pub struct Ledger {
    connections: HashMap<MapData, u64, abi::Connection>,
    descriptors: Descriptors,
    peers: HashMap<MapData, Peer, Totals>,
    connect_errors: Array<MapData, u64>,
    failures: Array<MapData, u64>,
    answer: Array<MapData, Answer>,
    capacity: u64,
}

/// A snapshot is taken anew when a connection came or went meanwhile, this often at most.
const ATTEMPTS: u32 = 3;

/// `PEERS` as the programs define it.
const PEERS: u64 = 64;

impl Ledger {
    pub fn take(ebpf: &mut Ebpf, settings: &Settings) -> Result<Self, Refusal> {
        let Some(Map::Array(descriptors)) = ebpf.take_map("DESCRIPTORS") else {
            return Err(Refusal::foreign_object("DESCRIPTORS"));
        };
        let descriptors = Descriptors::map(descriptors.fd(), settings.descriptors as usize)
            .map_err(|error| Refusal::new("map `DESCRIPTORS` into memory", &error))?;
        let mut peers: HashMap<_, Peer, Totals> = open(ebpf, "PEERS")?;
        peers
            .insert(Peer::OTHER, Totals::ZERO, 0)
            .map_err(|error| Refusal::new("write the map `PEERS`", &error))?;
        Ok(Self {
            connections: open(ebpf, "CONNECTIONS")?,
            descriptors,
            peers,
            connect_errors: open(ebpf, "CONNECT_ERRORS")?,
            failures: open(ebpf, "FAILURES")?,
            answer: open(ebpf, "ANSWER")?,
            capacity: settings.connections.into(),
        })
    }

    pub fn holds(&self, inode: u64) -> Result<bool, Refusal> {
        match self.connections.get(&inode, 0) {
            Ok(_) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(error) => Err(unreadable(&error)),
        }
    }

    pub fn snapshot(&self, question: &RawTracePoint) -> Result<Snapshot, Refusal> {
        let mut totals = self.totals()?;
        let mut attempt = 1;
        loop {
            let connections = self.live(question)?;
            let after = self.totals()?;
            if after == totals || attempt == ATTEMPTS {
                return self.with_maps(connections, after);
            }
            (totals, attempt) = (after, attempt + 1);
        }
    }

    fn totals(&self) -> Result<Vec<(Peer, Totals)>, Refusal> {
        self.peers
            .iter()
            .collect::<Result<_, _>>()
            .map_err(|error| unreadable(&error))
    }

    fn live(&self, question: &RawTracePoint) -> Result<Vec<Connection>, Refusal> {
        // inode → lowest descriptor, and how many
        let mut descriptors = BTreeMap::<u64, (u32, u32)>::new();
        for (fd, inode) in self.descriptors.open() {
            descriptors.entry(inode).or_insert((fd, 0)).1 += 1;
        }
        let now = since_boot();
        let mut live = Vec::with_capacity(descriptors.len());
        for entry in self.connections.iter() {
            let (inode, entry) = match entry {
                Ok(entry) => entry,
                // Released while we read.
                Err(MapError::KeyNotFound) => continue,
                Err(error) => return Err(unreadable(&error)),
            };
            let Some(&(fd, count)) = descriptors.get(&inode) else {
                continue;
            };
            let Some(state) = self.state(question, fd, inode)? else {
                continue;
            };
            let age = now.saturating_sub(Duration::from_nanos(entry.opened_ns));
            live.push(Connection {
                inode,
                fd: fd as i32,
                descriptors: count,
                peer: peer_name(&entry.peer),
                opened: SystemTime::now() - age,
                age,
                state,
            });
        }
        Ok(live)
    }

    /// Asks the socket itself; none if the connection was released meanwhile.
    fn state(&self, question: &RawTracePoint, fd: u32, inode: u64) -> Result<Option<State>, Refusal> {
        ask(question, [fd.into(), inode])?;
        let answer = self.answer.get(&0, 0).map_err(|error| unreadable(&error))?;
        Ok((answer.found == 1).then(|| State::of(answer.own_shutdown, &answer.ends)))
    }

    fn with_maps(&self, connections: Vec<Connection>, totals: Vec<(Peer, Totals)>) -> Result<Snapshot, Refusal> {
        let mut connect_errors = Vec::new();
        for errno in 0..ERRNOS {
            match self.counter(&self.connect_errors, errno)? {
                0 => {}
                count => connect_errors.push((errno as i32, count)),
            }
        }
        let usage = |map, limited: Limited, entries, capacity| {
            let failures = self.counter(&self.failures, limited as u32)?;
            Ok(MapUsage {
                map,
                entries,
                capacity,
                failures,
            })
        };
        const { assert!(LIMITED == 4) };
        let maps = vec![
            usage(
                "connections",
                Limited::Connections,
                connections.len() as u64,
                self.capacity,
            )?,
            usage(
                "descriptors",
                Limited::Descriptors,
                self.descriptors.open().count() as u64,
                self.descriptors.len() as u64,
            )?,
            usage("peers", Limited::Peers, totals.len() as u64, PEERS)?,
        ];
        let peers = totals
            .into_iter()
            .filter(|(_, totals)| *totals != Totals::ZERO)
            .map(|(peer, totals)| PeerTotals {
                peer: peer_name(&peer),
                opened: totals.opened,
                closed: totals.closed,
                closed_after_peer: totals.closed_after_peer,
            })
            .collect();
        Ok(Snapshot {
            connections,
            peers,
            connect_errors,
            maps,
        })
    }

    fn counter(&self, counters: &Array<MapData, u64>, index: u32) -> Result<u64, Refusal> {
        counters.get(&index, 0).map_err(|error| unreadable(&error))
    }
}

fn open<M>(ebpf: &mut Ebpf, name: &str) -> Result<M, Refusal>
where
    M: TryFrom<Map, Error = MapError>,
{
    let what = || format!("open the map `{name}`");
    let map = ebpf.take_map(name).ok_or_else(|| Refusal::foreign_object(name))?;
    map.try_into().map_err(|error| Refusal::new(what(), &error))
}

fn unreadable(error: &MapError) -> Refusal {
    Refusal::new("read the kernel's maps", error)
}

/// The programs' clock, `bpf_ktime_get_boot_ns`.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
