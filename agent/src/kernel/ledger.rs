//! From the kernel's maps to a [`Snapshot`].

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::{Duration, SystemTime},
};

use abi::{Answer, Cause, ERRNOS, Histogram, Kind, LIMITED, Limited, MEASURES, Measure, Peer, SURVEY, State, Totals};
use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError},
    programs::RawTracePoint,
};
use rustix::time::{ClockId, clock_gettime};

use super::{
    mapped::{Mapped, Writable},
    object::{Settings, ask},
    refusal::Refusal,
    snapshot::{Connection, MapUsage, PeerTotals, Snapshot, peer_name},
};

/// The maps, as the agent reads them.
pub(super) struct Ledger {
    connections: HashMap<MapData, u64, abi::Connection>,
    descriptors: Mapped<u64>,
    answers: Mapped<Answer>,
    peers: HashMap<MapData, Peer, Totals>,
    histograms: Mapped<Histogram>,
    connect_errors: Array<MapData, u64>,
    failures: Array<MapData, u64>,
    repairs: Array<MapData, u64>,
    capacity: u64,
}

/// A connection's entry, as the programs have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub inode: u64,
    pub opened_ns: u64,
    pub holders: u64,
}

/// A snapshot is taken anew when a connection came or went meanwhile, this often at most.
const ATTEMPTS: u32 = 3;

/// `PEERS` as the programs define it.
const PEERS: u64 = 64;

impl Ledger {
    pub(super) fn take(ebpf: &mut Ebpf, settings: &Settings) -> Result<Self, Refusal> {
        let mut peers: HashMap<_, Peer, Totals> = open(ebpf, "PEERS")?;
        peers
            .insert(Peer::OTHER, Totals::ZERO, 0)
            .map_err(|error| Refusal::new("write the map `PEERS`", &error))?;
        Ok(Self {
            connections: open(ebpf, "CONNECTIONS")?,
            descriptors: mapped(ebpf, "DESCRIPTORS", settings.descriptors)?,
            answers: mapped(ebpf, "ANSWERS", SURVEY)?,
            peers,
            histograms: mapped(ebpf, "HISTOGRAMS", MEASURES)?,
            connect_errors: open(ebpf, "CONNECT_ERRORS")?,
            failures: open(ebpf, "FAILURES")?,
            repairs: open(ebpf, "REPAIRS")?,
            capacity: settings.connections.into(),
        })
    }

    /// The connections that descriptors are said to lead to.
    fn led_to(&self) -> BTreeSet<u64> {
        let all = (0..self.descriptors.len()).map(|fd| self.inode(fd));
        all.filter(|&inode| inode != 0).collect()
    }

    /// How many entries descriptors lead to.
    pub(super) fn held(&self) -> u64 {
        self.led_to().len() as u64
    }

    /// Entries that no descriptor leads to.
    pub(super) fn unheld(&self) -> Result<Vec<Entry>, Refusal> {
        let led_to = self.led_to();
        let mut unheld = Vec::new();
        for entry in self.connections.iter() {
            match entry {
                Ok((inode, connection)) if !led_to.contains(&inode) => unheld.push(Entry {
                    inode,
                    opened_ns: connection.opened_ns,
                    holders: connection.holders,
                }),
                // It ended between the key and the value.
                Ok(_) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(unreadable(&error)),
            }
        }
        Ok(unheld)
    }

    /// But for what is not the ledger of connections.
    pub(super) fn snapshot(&self, survey: &RawTracePoint) -> Result<Snapshot, Refusal> {
        let mut totals = self.totals()?;
        let mut attempt = 1;
        loop {
            let connections = self.live(survey)?;
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

    fn live(&self, survey: &RawTracePoint) -> Result<Vec<Connection>, Refusal> {
        let (now, now_since_boot) = (SystemTime::now(), since_boot());
        let mut live = BTreeMap::<u64, Connection>::new();
        for first in (0..self.descriptors.len()).step_by(SURVEY as usize) {
            let block = first..first + SURVEY as usize;
            if block.clone().all(|fd| self.inode(fd) == 0) {
                continue;
            }
            ask(survey, first as u64)?;
            for (index, fd) in block.enumerate() {
                let Some(answer) = self.answers.get(index).filter(|answer| answer.inode != 0) else {
                    continue;
                };
                let connection = live.entry(answer.inode).or_insert_with(|| {
                    let since = |then| now_since_boot.saturating_sub(Duration::from_nanos(then));
                    let age = since(answer.opened_ns);
                    Connection {
                        inode: answer.inode,
                        fd: fd as i32,
                        descriptors: 0,
                        kind: kind(&answer.peer),
                        peer: peer_name(&answer.peer),
                        opened: now - age,
                        age,
                        state: State::of(answer.own_shutdown as u32, &answer.ends),
                        ended: (answer.ended_ns != 0).then(|| since(answer.ended_ns)),
                        mark: answer.mark,
                    }
                });
                connection.descriptors += 1;
            }
        }
        Ok(live.into_values().collect())
    }

    /// The inode of the connection that a descriptor is; 0 for none.
    fn inode(&self, fd: usize) -> u64 {
        self.descriptors.get(fd).unwrap_or(0)
    }

    fn with_maps(&self, connections: Vec<Connection>, totals: Vec<(Peer, Totals)>) -> Result<Snapshot, Refusal> {
        let mut connect_errors = Vec::new();
        for errno in 0..ERRNOS {
            match self.counter(&self.connect_errors, errno)? {
                0 => {}
                count => connect_errors.push((errno as i32, count)),
            }
        }
        let mut repairs = Vec::new();
        for cause in Cause::ALL {
            repairs.push((cause, self.counter(&self.repairs, cause as u32)?));
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
                (0..self.descriptors.len()).filter(|&fd| self.inode(fd) != 0).count() as u64,
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
            repairs,
            ages: self.histogram(Measure::Age),
            close_waits: self.histogram(Measure::CloseWait),
            ..Snapshot::default()
        })
    }

    fn histogram(&self, measure: Measure) -> Histogram {
        self.histograms.get(measure as usize).unwrap_or_default()
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

pub(super) fn mapped<T: Pod>(ebpf: &mut Ebpf, name: &str, len: u32) -> Result<Mapped<T>, Refusal> {
    let map = array(ebpf, name)?;
    Mapped::new(map.fd(), len as usize).map_err(|error| unmapped(name, &error))
}

pub(super) fn writable<T: Pod>(ebpf: &mut Ebpf, name: &str, len: u32) -> Result<Writable<T>, Refusal> {
    let map = array(ebpf, name)?;
    Writable::new(map.fd(), len as usize).map_err(|error| unmapped(name, &error))
}

fn array(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Refusal> {
    match ebpf.take_map(name) {
        Some(Map::Array(map)) => Ok(map),
        _ => Err(Refusal::foreign_object(name)),
    }
}

fn unmapped(name: &str, error: &io::Error) -> Refusal {
    Refusal::new(format_args!("map `{name}` into memory"), error)
}

fn unreadable(error: &MapError) -> Refusal {
    Refusal::new("read the kernel's maps", error)
}

fn kind(peer: &Peer) -> Kind {
    match libc::c_int::from(peer.family) {
        libc::AF_INET | libc::AF_INET6 => Kind::Tcp,
        _ => Kind::Unix,
    }
}

/// The programs' clock, `bpf_ktime_get_boot_ns`.
fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}
