//! A leak of each kind, planted among connections that come and go, is named, and nothing else is.
//!
//! The agent cannot be made to read a connection's end and keep it, from outside: nothing waits between that read and the
//! close. Here the test is the agent, and does what its code does not.

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use log_capturer::{
    audit::{Detector, Leak, Patience, Reason},
    record::ContainerId,
    register::{Entry, OnConnect, Opening, Register, Site},
};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};

use super::{Fixture, fixture, inode};

const SCAN: Duration = Duration::from_millis(250);
const SCANS: usize = 4;
/// As many scans: longer than the scheduler keeps a thread from closing what it has read to the end, but on a machine that is
/// very busy with other work. There [`ATTEMPTS`] are made.
const PATIENCE: Patience = Patience {
    orphan: Duration::from_secs(1),
    half_closed: Duration::from_secs(1),
};

const ATTEMPTS: usize = 5;

/// Each site has a container of its own.
fn opening(site: Site) -> Opening {
    let index = Site::ALL.iter().position(|&other| other == site).expect("one of all");
    Opening {
        site,
        // As long as the engine's: a mark has room for exactly that.
        container: Some(ContainerId::new(&index.to_string().repeat(64))),
    }
}

/// Opens a connection as the agent does.
fn open(fixture: &Fixture, register: &Register, site: Site) -> (UnixStream, Entry) {
    let stream = register.connecting(&opening(site), || fixture.connect());
    let entry = register.enter(&stream, opening(site)).expect("entered");
    (stream, entry)
}

#[test]
fn a_leak_of_each_kind_is_named_with_its_opener_and_nothing_else_is() {
    for _ in 0..ATTEMPTS {
        let Some(fixture) = fixture() else { return };
        let (ended, longest) = among_others(&fixture);
        match ended {
            Ok(()) => return,
            // Then it was right to name a connection that was not planted.
            Err(_) if longest >= PATIENCE.half_closed => println!("a thread had one open for {longest:?}: once more"),
            Err(failed) => resume_unwind(failed),
        }
    }
    panic!("the machine is too busy: in {ATTEMPTS} attempts some thread did not run for {PATIENCE:?}");
}

/// What came of it, and for how long one of the connections that come and go was open at the most.
fn among_others(fixture: &Fixture) -> (thread::Result<()>, Duration) {
    let register = Register::new(Some(fixture.kernel.clone() as Arc<dyn OnConnect>));
    let (over, longest) = (AtomicBool::new(false), AtomicU64::new(0));
    let ended = thread::scope(|scope| {
        let (register, over, longest) = (&register, &over, &longest);
        // A peer that ends at once.
        scope.spawn(|| while fixture.server.accept().is_ok() {});
        let workers = [Site::Pool, Site::Events, Site::Follow].map(|site| {
            scope.spawn(move || {
                while !over.load(Ordering::SeqCst) {
                    let opened = Instant::now();
                    let (mut stream, entry) = open(fixture, register, site);
                    assert_eq!(stream.read(&mut [0; 8]).expect("its end"), 0);
                    entry.eof_read();
                    drop(stream);
                    drop(entry);
                    longest.fetch_max(opened.elapsed().as_nanos() as u64, Ordering::SeqCst);
                }
            })
        });
        let ended = catch_unwind(AssertUnwindSafe(|| planted(fixture, register)));
        over.store(true, Ordering::SeqCst);
        let worked = workers.map(|worker| worker.join());
        // Ends the `accept`.
        shutdown(&fixture.server, Shutdown::Both).unwrap();
        assert!(worked.iter().all(Result::is_ok));
        ended
    });
    (ended, Duration::from_nanos(longest.into_inner()))
}

fn planted(fixture: &Fixture, register: &Register) {
    let mut detector = Detector::new(PATIENCE);
    let mut told = Vec::<Leak>::new();
    let mut scan = || {
        thread::sleep(SCAN);
        let connections = fixture.kernel.snapshot().expect("snapshot").connections;
        let now = Instant::now();
        let leaks = detector.scan(&connections, &register.snapshot(), now, |leak| told.push(leak.clone()));
        (leaks, told.clone())
    };
    for _ in 0..SCANS {
        let (leaks, _) = scan();
        assert!(leaks.is_empty(), "nothing is planted yet: {leaks:?}");
    }

    // Struck out before a scan has seen it: only its mark says who opened it.
    let (orphan, entry) = open(fixture, register, Site::Rotation);
    drop(entry);
    let (mut read, read_entry) = open(fixture, register, Site::Follow);
    assert_eq!(read.read(&mut [0; 8]).expect("its end"), 0);
    read_entry.eof_read();
    let (unread, unread_entry) = open(fixture, register, Site::Events);
    let (gone, gone_entry) = open(fixture, register, Site::Pool);
    register.container_gone(&opening(Site::Pool).container.expect("given"));
    for stream in [&unread, &gone] {
        // The peer has ended by then; the end stays unread.
        let mut byte = [0_u8];
        assert_eq!(recv(stream, &mut byte[..], RecvFlags::PEEK).expect("its end").0, 0);
    }

    let mut scans = 0;
    let named = loop {
        let (leaks, told) = scan();
        scans += 1;
        if leaks.len() >= 4 {
            break told;
        }
        // They must look so for as long as that, and be seen so.
        assert!(scans < SCANS + 2, "after {scans} scans: {leaks:?}");
    };
    for (stream, reason, site) in [
        (&orphan, Reason::Orphan, Site::Rotation),
        (&read, Reason::EofReadNotClosed, Site::Follow),
        (&unread, Reason::EofNeverRead, Site::Events),
        (&gone, Reason::ContainerGone, Site::Pool),
    ] {
        let inode = inode(stream);
        let leak = named.iter().find(|leak| leak.connection.inode == inode);
        let leak = leak.unwrap_or_else(|| panic!("{reason:?} is not among {named:?}"));
        let said = leak.opening.as_ref().expect("who opened it");
        assert_eq!((leak.reason, said.site), (reason, site));
        assert_eq!(said.container, opening(site).container);
    }
    for _ in 0..SCANS {
        let (leaks, told) = scan();
        assert_eq!((leaks.len(), told.len()), (4, 4), "each once, and no other: {told:?}");
    }
    drop((orphan, read, read_entry, unread, unread_entry, gone, gone_entry));
    assert!(scan().0.is_empty(), "closed, they are none any more");
}
