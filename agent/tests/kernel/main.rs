//! The ledger against the traps of a connection's life, each told by two witnesses that are not ours.
//!
//! Needs the kernel part and the rights to load it; says so where they are missing. The ledger is of the whole process: the
//! tests take turns.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]
#![expect(
    unsafe_code,
    reason = "the tests treat descriptors as a program does that has lost track of them"
)]

mod descriptors;
mod ends;
mod fds;
mod kinds;
mod leaks;
mod limits;
mod marks;
mod messages;
mod missed;
mod namespace;
mod quiet;
mod random;
mod repair;
mod rights;
mod tcp;
mod tiers;
mod tracefs;
mod witness;

use std::{
    collections::BTreeMap,
    env,
    io::{self, Write as _},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Instant,
};

use log_capturer::kernel::{Connection, Kernel, Options, PeerTotals, RefusalKind, Snapshot, State, Tier};
use rustix::{
    fs::fstat,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

static TURN: Mutex<()> = Mutex::new(());

/// An attached ledger, and a socket to connect to.
struct Fixture {
    kernel: Arc<Kernel>,
    server: UnixListener,
    path: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

/// None, with the reason printed past the test harness's capture, where the kernel part cannot run. With
/// `LOG_CAPTURER_REQUIRE_ALL=1`, as in CI, that is a failure.
fn fixture() -> Option<Fixture> {
    fixture_with(&options())
}

/// `LEDGER_TIER`: the tier that the tests are to run on; else the best that there is.
fn options() -> Options {
    let tier = env::var("LEDGER_TIER").ok().map(|name| match name.as_str() {
        "fentry" => Tier::Fentry,
        "tracepoint" => Tier::Tracepoint,
        other => panic!("LEDGER_TIER={other}"),
    });
    Options {
        tier,
        ..Options::default()
    }
}

/// Set where the kernel preempts tasks inside itself, and so may skip a program: what is must be right all the same, while
/// totals may lack what was missed, and repairs are to be expected.
fn preempts() -> bool {
    env::var_os("LEDGER_PREEMPTS").is_some()
}

fn fixture_with(options: &Options) -> Option<Fixture> {
    fixture_in(turn(), options)
}

/// For what a test has to open before the attach: the witnesses of another test would count it, too.
fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn fixture_in(turn: MutexGuard<'static, ()>, options: &Options) -> Option<Fixture> {
    // Both ends of a thousand connections are ours.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .expect("up to the hard limit");
    match Kernel::attach(options) {
        Ok(kernel) => {
            let (server, path) = listener();
            Some(Fixture {
                kernel: Arc::new(kernel),
                server,
                path,
                _turn: turn,
            })
        }
        Err(refusal) => {
            assert_ne!(refusal.kind, RefusalKind::Unexpected, "{refusal}");
            let name = thread::current().name().unwrap_or("a test").to_owned();
            let line = format!("not run: {name}: {refusal}");
            let required = env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "{line}");
            writeln!(io::stderr(), "{line}").expect("stderr");
            None
        }
    }
}

fn listener() -> (UnixListener, PathBuf) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ledger-{}-{number}.sock", std::process::id()));
    (UnixListener::bind(&path).expect("bind"), path)
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Fixture {
    /// With a ledger that begins now.
    fn attached_again(mut self) -> Self {
        self.kernel = Arc::new(Kernel::attach(&options()).expect("as before"));
        self
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).expect("connect")
    }

    fn pair(&self) -> (UnixStream, UnixStream) {
        let client = self.connect();
        (client, self.server.accept().expect("accept").0)
    }

    /// A snapshot that both witnesses agree with, and whose sums are right.
    fn checked(&self) -> Snapshot {
        let snapshot = self.kernel.snapshot().expect("snapshot");
        let ours: BTreeMap<_, _> = snapshot.connections.iter().map(|c| (c.inode, c.descriptors)).collect();
        assert_eq!(ours, witness::connections(), "ledger against /proc and ss");
        let live: u64 = snapshot.peers.iter().map(|peer| peer.opened - peer.closed).sum();
        assert_eq!(live, ours.len() as u64, "opened - closed = live: {:?}", snapshot.peers);
        snapshot
    }

    fn totals(&self, snapshot: &Snapshot) -> PeerTotals {
        totals_of(snapshot, self.path.to_str().expect("UTF-8"))
    }

    /// Whether it is a connection to the ledger.
    fn accounts_for(&self, stream: impl AsFd) -> bool {
        let inode = inode(stream);
        self.checked().connections.iter().any(|c| c.inode == inode)
    }

    /// So many connections were opened and closed. Where events can be missed, it may be fewer, by what the kernel says it did
    /// not tell.
    fn assert_all_closed(&self, opened: u64) {
        let snapshot = self.checked();
        let totals = self.totals(&snapshot);
        assert_eq!(totals.opened, totals.closed);
        if preempts() {
            let missed: u64 = snapshot.missed.iter().map(|missed| missed.events).sum();
            let lacking = opened - totals.opened;
            writeln!(
                io::stderr(),
                "{} of {opened} counted; {missed} runs skipped; repairs {:?}",
                totals.opened,
                snapshot.repairs
            )
            .expect("stderr");
            assert!(
                lacking <= missed || !counts_skipped_tracepoints(),
                "{lacking} > {missed}"
            );
        } else {
            assert_eq!(totals.opened, opened);
        }
    }

    fn state(&self, stream: impl AsFd) -> State {
        entry(&self.checked(), stream).state
    }
}

/// Since 6.7 a kernel counts the runs that it skipped at tracepoints of system calls, too.
fn counts_skipped_tracepoints() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    let mut numbers = release.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let number = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    number >= (6, 7)
}

fn totals_of(snapshot: &Snapshot, name: &str) -> PeerTotals {
    let none = PeerTotals {
        peer: name.into(),
        opened: 0,
        closed: 0,
        closed_after_peer: 0,
    };
    snapshot
        .peers
        .iter()
        .find(|peer| peer.peer == name)
        .cloned()
        .unwrap_or(none)
}

fn inode(stream: impl AsFd) -> u64 {
    fstat(stream).expect("fstat").st_ino
}

fn entry(snapshot: &Snapshot, stream: impl AsFd) -> Connection {
    let inode = inode(stream);
    snapshot
        .connections
        .iter()
        .find(|c| c.inode == inode)
        .cloned()
        .expect("in the ledger")
}

#[test]
fn a_connection_from_connect_to_close() {
    let Some(fixture) = fixture() else { return };
    assert!(fixture.checked().connections.is_empty());

    let begin = Instant::now();
    let (client, server) = fixture.pair();
    let snapshot = fixture.checked();
    let seen = entry(&snapshot, &client);
    assert_eq!(seen.fd, client.as_raw_fd());
    assert_eq!(seen.peer, fixture.path.to_str().unwrap());
    assert_eq!(seen.state, State::Established);
    assert!(seen.age <= begin.elapsed(), "{:?}", seen.age);
    assert!(fixture.kernel.holds(inode(&client)).unwrap());
    assert!(!fixture.accounts_for(&server), "accepted, not opened by us");
    assert!(fixture.kernel.holds(inode(&server)).unwrap(), "open all the same");

    let inode = inode(&client);
    drop(client);
    assert!(!fixture.kernel.holds(inode).unwrap());
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed, totals.closed_after_peer), (1, 1, 0));
}

#[test]
fn an_abstract_name() {
    use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
    let Some(fixture) = fixture() else { return };
    let name = format!("ledger-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _server = UnixListener::bind_addr(&address).unwrap();
    let client = UnixStream::connect_addr(&address).unwrap();
    assert_eq!(entry(&fixture.checked(), &client).peer, format!("@{name}"));
}

#[test]
fn failed_connects_are_counted_by_errno() {
    let Some(fixture) = fixture() else { return };
    UnixStream::connect("/nonexistent/socket").unwrap_err();
    let (server, path) = listener();
    drop(server);
    UnixStream::connect(&path).unwrap_err();
    UnixStream::connect(&path).unwrap_err();
    std::fs::remove_file(&path).unwrap();
    let snapshot = fixture.checked();
    const ENOENT: i32 = 2;
    const ECONNREFUSED: i32 = 111;
    assert_eq!(snapshot.connect_errors, [(ENOENT, 1), (ECONNREFUSED, 2)]);
    assert!(snapshot.peers.is_empty(), "{:?}", snapshot.peers);
}
