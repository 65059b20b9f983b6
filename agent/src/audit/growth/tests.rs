use std::time::Duration;

use fastrand::Rng;

use super::*;
use crate::kernel::{KindTotals, MapUsage, Mark, State};

const SCAN: Duration = Duration::from_secs(10);
const HOUR: u64 = 360;
const ALL_LENGTHS: u64 = PERIODS as u64 * 2;

/// The scan at which each kind was told of, and what is growing in the end.
fn watch(scans: u64, mut count: impl FnMut(u64) -> u64) -> (Vec<u64>, Vec<Growing>) {
    let start = Instant::now();
    let mut growth = Growth::new();
    let mut told = Vec::new();
    let mut growing = Vec::new();
    for scan in 0..scans {
        let open = count(scan);
        let count = Count {
            kind: Kind::Eventfd,
            open,
            unexplained: open,
        };
        let now = start + SCAN * scan as u32;
        growing = growth.scan([count].into_iter(), now, |_| told.push(scan));
    }
    (told, growing)
}

#[test]
fn a_leak_of_any_rate_is_told_once_after_one_to_two_dozen() {
    for scans_for_one in [1, 2, 3, 7, 10, 60, HOUR] {
        let (told, growing) = watch(scans_for_one * 60, |scan| 5 + scan / scans_for_one);
        let [told] = told[..] else { panic!("told at {told:?}") };
        let lost = told / scans_for_one;
        assert!(
            (PERIODS as u64 - 2..=ALL_LENGTHS).contains(&lost),
            "{lost} lost, one in {scans_for_one} scans"
        );
        assert_eq!(growing[0].open, 5 + 59);
        assert!(growing[0].by > 40, "{growing:?}");
    }
}

#[test]
fn a_leak_under_churn_is_told_when_it_is_higher_than_the_churn_ever_was() {
    let mut random = Rng::with_seed(7);
    let (told, growing) = watch(10 * HOUR, |scan| 3 + random.u64(..20) + scan / 20);
    let [told] = told[..] else { panic!("told at {told:?}") };
    assert!(told / 20 < 2 * ALL_LENGTHS, "{} lost", told / 20);
    let per_hour = growing[0].per_hour(growing[0].since + SCAN * (10 * HOUR as u32));
    assert!((15.0..25.0).contains(&per_hour), "{per_hour}");
}

#[test]
fn what_stands_steps_or_swings_does_not_grow() {
    let cases: [fn(u64) -> u64; 5] = [
        |_| 9,
        |scan| if scan < 40 { 3 } else { 300 },
        // As many steps as there are periods in a window, but one.
        |scan| (scan / 5).min(PERIODS as u64 - 1),
        |scan| scan % 11,
        |scan| if (scan / 100) % 2 == 0 { scan % 100 } else { 100 - scan % 100 } / 10,
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let (told, _) = watch(20 * HOUR, case);
        assert!(told.is_empty(), "case {index}: {told:?}");
    }
}

#[test]
fn what_has_grown_stays_told_until_it_is_gone_and_may_be_told_again() {
    let leak = |scan| match scan {
        ..100 => scan,
        100..200 => 100,
        200..300 => 0,
        _ => scan - 300,
    };
    assert_eq!(watch(150, leak).1[0].by, 100, "it stands still, and is held");
    assert_eq!(watch(250, leak).1, []);
    let (told, _) = watch(400, leak);
    assert_eq!(told.len(), 2, "{told:?}");
}

/// The agent's life as the ledger sees it: containers start and end, their streams rotate, clients ask, files are
/// written. Its counts are the model's own; that none of it is told is the claim.
struct Agent {
    random: Rng,
    containers: u64,
    clients: u64,
    started: u64,
}

const MOST_CLIENTS: u64 = 16;

impl Agent {
    fn scan(&mut self, scan: u64) -> Snapshot {
        // In the first minutes there is more of everything at each scan.
        let starting = scan < 20;
        self.containers = match self.random.u64(..4) {
            _ if starting => self.containers + 3,
            0 => self.containers + self.random.u64(..8),
            1 => self.containers.saturating_sub(self.random.u64(..8)),
            _ => self.containers,
        };
        // One day they are ten times as many.
        if scan == self.started {
            self.containers *= 10;
        }
        self.clients = match self.random.u64(..3) {
            0 => (self.clients + 1).min(MOST_CLIENTS),
            1 => self.clients.saturating_sub(1),
            _ => self.clients,
        };
        let rotating = self.random.u64(..3);
        let connections = (self.containers + rotating) as u32;
        let open = |kind| match kind {
            Kind::Unix => 2 + u64::from(connections),
            Kind::Tcp => 1 + self.clients,
            Kind::File => 3 + scan.min(9),
            Kind::Epoll | Kind::Eventfd => 1,
            Kind::Bpf => 40,
            _ => 0,
        };
        let mut fds: Vec<_> = Kind::ALL.into_iter().map(|kind| totals(kind, open(kind))).collect();
        for totals in &mut fds {
            // Positions are saved, /proc is read, a sample is made: for a moment.
            totals.open += [0, 0, 0, 1, 2][self.random.usize(..5)];
        }
        Snapshot {
            connections: vec![connection(connections)],
            fds,
            ..Snapshot::default()
        }
    }
}

fn totals(kind: Kind, open: u64) -> KindTotals {
    KindTotals {
        kind,
        open,
        preexisting: 0,
        opened: open,
        closed: 0,
        found: 0,
        repaired: 0,
    }
}

/// As many as that: for this they may as well be one.
fn connection(descriptors: u32) -> Connection {
    Connection {
        inode: 1,
        fd: 9,
        descriptors,
        kind: Kind::Unix,
        peer: "/run/docker.sock".into(),
        opened: std::time::SystemTime::UNIX_EPOCH,
        age: Duration::ZERO,
        state: State::Established,
        ended: None,
        mark: Mark::default(),
    }
}

#[test]
fn an_hour_of_ordinary_churn_is_no_growth() {
    for seed in 0..200 {
        let mut agent = Agent {
            random: Rng::with_seed(seed),
            containers: 0,
            clients: 0,
            started: seed % HOUR,
        };
        let start = Instant::now();
        let mut growth = Growth::new();
        for scan in 0..HOUR {
            let snapshot = agent.scan(scan);
            let now = start + SCAN * scan as u32;
            let growing = growth.scan(counts(&snapshot, MOST_CLIENTS), now, |_| {});
            assert_eq!(growing, [], "seed {seed}, scan {scan}");
        }
    }
}

#[test]
fn connections_for_which_there_was_no_room_are_not_taken_for_other_sockets() {
    let snapshot = |capacity| Snapshot {
        connections: vec![connection(64)],
        maps: vec![MapUsage {
            map: "connections",
            entries: 64,
            capacity,
            failures: 9,
        }],
        fds: vec![totals(Kind::Unix, 90), totals(Kind::Pipe, 7)],
        ..Snapshot::default()
    };
    let unexplained =
        |capacity| -> Vec<u64> { counts(&snapshot(capacity), 16).map(|count| count.unexplained).collect() };
    assert_eq!(unexplained(65), [26, 7]);
    assert_eq!(unexplained(64), [0, 7]);
}
