//! Hooks that miss events. A kernel that preempts tasks inside a tracing program skips that program for others; one that does
//! not never skips any, so here each hook is taken away in turn, for good. What is must be right all the same after each look,
//! and the totals must agree with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;

use log_capturer::kernel::{Cause, Tier};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{dup, fcntl_dupfd_cloexec};
use rustix::net::{Shutdown, shutdown};

use super::{Fixture, fixture, inode};

/// `struct bpf_link_info` and `struct bpf_prog_info` begin with two numbers each; the second has the name at this offset.
const NAME: usize = 64;
const INFO: usize = 128;
/// The kernel cuts names to this.
const NAME_LEN: usize = 15;

fn info(fd: RawFd) -> Option<[u8; INFO]> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    #[repr(C)]
    struct Attributes {
        fd: u32,
        len: u32,
        info: u64,
    }
    let mut info = [0_u8; INFO];
    let attributes = Attributes {
        fd: fd as u32,
        len: INFO as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes no more than `len` bytes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    (result == 0).then_some(info)
}

fn number(info: &[u8; INFO], at: usize) -> u32 {
    u32::from_ne_bytes(info[at..at + 4].try_into().expect("four bytes"))
}

/// This process's descriptors of that kind, by what `/proc` calls it.
fn of_kind(names: &[&str]) -> Vec<RawFd> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc is mounted");
    let found = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = fs::read_link(&path).ok()?;
        let name = target.to_str()?.strip_prefix("anon_inode:")?;
        names
            .contains(&name)
            .then(|| path.file_name()?.to_str()?.parse().ok())?
    });
    found.collect()
}

/// Takes every attachment of this program away, behind the agent's back: its descriptors are of another file then.
pub fn take_away(program: &str) -> usize {
    const PROGRAM_ID: usize = 4;
    let cut = &program[..program.len().min(NAME_LEN)];
    let programs: BTreeSet<u32> = of_kind(&["bpf-prog"])
        .into_iter()
        .filter_map(info)
        .filter(|info| info[NAME..].starts_with(cut.as_bytes()) && info[NAME + cut.len()] == 0)
        .map(|info| number(&info, PROGRAM_ID))
        .collect();
    const LINKED_PROGRAM: usize = 8;
    let links: Vec<_> = of_kind(&["bpf-link", "bpf_link"])
        .into_iter()
        .filter(|&fd| info(fd).is_some_and(|info| programs.contains(&number(&info, LINKED_PROGRAM))))
        .collect();
    let nothing = fs::File::open("/dev/null").expect("/dev/null");
    for &link in &links {
        // SAFETY: the link's owner will close this number, whatever it is of.
        let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(link) });
        rustix::io::dup2(&nothing, &mut target).expect("dup2");
    }
    links.len()
}

/// A life of each sort, by several threads; what is left is given back.
fn live(fixture: &Fixture) -> Vec<OwnedFd> {
    const THREADS: usize = 3;
    const ROUNDS: usize = 40;
    let one = |thread: usize| {
        let mut kept: Vec<OwnedFd> = Vec::new();
        for round in 0..ROUNDS {
            let client = fixture.connect();
            match (thread + round) % 7 {
                0 => kept.push(client.into()),
                1 => kept.push(dup(&client).unwrap()),
                2 => {
                    kept.push(fcntl_dupfd_cloexec(&client, 200).unwrap());
                    kept.push(client.into());
                }
                3 => {
                    let mut over = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
                    rustix::io::dup2(&client, &mut over).unwrap();
                    kept.push(over);
                }
                4 => {
                    client.shutdown(std::net::Shutdown::Write).unwrap();
                    kept.push(client.into());
                }
                5 => {
                    let fd = std::os::fd::IntoRawFd::into_raw_fd(client) as u32;
                    // SAFETY: given up just now.
                    assert_eq!(unsafe { libc::close_range(fd, fd, 0) }, 0);
                }
                _ => drop(client),
            }
            if round % 5 == 4 {
                kept.drain(..kept.len() / 2);
            }
        }
        kept
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || one(thread))).collect();
        let kept = threads.into_iter().flat_map(|thread| thread.join().expect("no panic"));
        kept.collect()
    })
}

/// Accepts what comes, until the listener is shut down.
fn accepting<T>(fixture: &Fixture, work: impl FnOnce() -> T) -> T {
    thread::scope(|scope| {
        scope.spawn(|| while fixture.server.accept().is_ok() {});
        let done = work();
        shutdown(&fixture.server, Shutdown::Both).unwrap();
        done
    })
}

impl Fixture {
    /// Live sets and totals agree with the witnesses, and nothing dead takes up room.
    fn holds_true(&self, program: &str) {
        self.checked();
        let drift = self.kernel.drift().expect("drift");
        // The look at /proc opens and closes a descriptor itself: without these there is never a quiet moment to compare in.
        if !program.contains("close") {
            let drift = drift.expect("a quiet moment");
            assert!(drift.is_empty(), "without {program}: {drift:?}");
        }
        let repairs = || self.kernel.snapshot().expect("snapshot").repairs;
        assert_eq!(repairs(), repairs(), "without {program}: all was right already");
    }
}

/// The programs of a tier, but `tcp_state`, which tells times only.
fn programs(tier: Tier) -> &'static [&'static str] {
    match tier {
        Tier::Fentry => &[
            "fexit_install",
            "fexit_connect",
            "fexit_close",
            "fexit_close_range",
            "fexit_dup",
            "fexit_dup2",
            "fexit_fcntl",
            "fexit_shutdown",
            "fentry_shutdown",
            "fentry_close",
            "fentry_close_range",
            "fentry_dup",
            "fentry_dup2",
            "fentry_fcntl",
        ],
        _ => &[
            "exit_connect",
            "exit_close",
            "exit_close_range",
            "exit_dup",
            "exit_shutdown",
            "exit_birth",
            "enter_shutdown",
            "enter_close",
            "enter_close_range",
            "enter_dup",
            "enter_dup2",
            "enter_fcntl",
            "enter_connect",
        ],
    }
}

#[test]
fn without_any_one_hook_the_walk_tells_what_is() {
    let Some(first) = fixture() else { return };
    let tier = first.kernel.tier();
    drop(first);
    // An emulated machine attaches for half a minute each time, so there it is those that count connections.
    let is_emulated = std::env::var_os("LEDGER_TIER").is_some();
    let most = if is_emulated { 4 } else { usize::MAX };
    for program in programs(tier).iter().take(most) {
        let Some(fixture) = fixture() else { return };
        assert!(take_away(program) > 0, "{program} is not attached");
        let kept = accepting(&fixture, || live(&fixture));
        fixture.holds_true(program);
        drop(kept);
        fixture.holds_true(program);
        let snapshot = fixture.checked();
        assert!(snapshot.connections.is_empty(), "without {program}: {snapshot:?}");
        let usage = snapshot.maps.iter().find(|map| map.map == "connections").unwrap();
        assert_eq!(usage.entries, 0, "without {program}: dead entries take up room");
    }
}

/// What a missed hook leaves out is told by its cause.
#[test]
fn a_repair_is_counted_with_its_cause() {
    let Some(fixture) = fixture() else { return };
    let connect = match fixture.kernel.tier() {
        Tier::Fentry => "fexit_connect",
        _ => "exit_connect",
    };
    take_away(connect);
    let client = fixture.connect();
    assert_eq!(fixture.checked().connections.len(), 1);
    assert_eq!(fixture.repairs(Cause::Connect), 1);
    assert!(fixture.kernel.holds(inode(&client)).unwrap());
    drop(client);
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (1, 1));

    // Nobody has looked at this one before it was closed.
    drop(fixture.connect());
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (2, 2));
    assert_eq!(fixture.repairs(Cause::Connect), 2);
}

/// No entry is left behind by closes that were missed, of many more connections than there is room for.
#[test]
fn missed_ends_do_not_fill_the_map() {
    let Some(fixture) = fixture() else { return };
    let close = match fixture.kernel.tier() {
        Tier::Fentry => ["fentry_close", "fexit_close"],
        _ => ["enter_close", "exit_close"],
    };
    for program in close {
        take_away(program);
    }
    const ROUNDS: usize = 20;
    const EACH: usize = 300;
    accepting(&fixture, || {
        for _ in 0..ROUNDS {
            let clients: Vec<UnixStream> = (0..EACH).map(|_| fixture.connect()).collect();
            drop(clients);
            fixture.kernel.snapshot().unwrap();
        }
    });
    let snapshot = fixture.checked();
    assert!(snapshot.connections.is_empty());
    let totals = fixture.totals(&snapshot);
    let opened = (ROUNDS * EACH) as u64;
    assert_eq!((totals.opened, totals.closed), (opened, opened));
    assert!(snapshot.maps.iter().all(|map| map.failures == 0), "{:?}", snapshot.maps);
}
