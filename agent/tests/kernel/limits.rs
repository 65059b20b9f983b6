//! Many at once, and more than there is room for.

use std::{os::unix::net::UnixStream, thread};

use rustix::net::{Shutdown, shutdown};

use super::{Fixture, Options, fixture, fixture_with, options};

/// Accepts and closes, until `work` is done.
fn accept_all(fixture: &Fixture, work: impl FnOnce()) {
    thread::scope(|scope| {
        scope.spawn(|| while fixture.server.accept().is_ok() {});
        work();
        // Ends the `accept`; a last connection would not get through to it while the queue is full.
        shutdown(&fixture.server, Shutdown::Both).unwrap();
    });
}

#[test]
fn many_threads_open_duplicate_and_close() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 1000;
    let Some(fixture) = fixture() else { return };
    accept_all(&fixture, || {
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let fixture = &fixture;
                scope.spawn(move || {
                    let mut kept: Vec<UnixStream> = Vec::new();
                    for round in 0..ROUNDS {
                        let client = fixture.connect();
                        match (thread + round) % 4 {
                            0 => kept.push(client.try_clone().unwrap()),
                            1 => kept.push(client),
                            2 => drop(client.try_clone().unwrap()),
                            _ => drop(client),
                        }
                        if kept.len() > 20 {
                            kept.drain(..15);
                        }
                    }
                });
            }
        });
    });
    fixture.assert_all_closed((THREADS * ROUNDS) as u64);
    for map in fixture.kernel.snapshot().unwrap().maps {
        assert_eq!(map.failures, 0, "{map:?}");
    }
}

/// One thread closes what another duplicates: the connection lives on in the duplicate.
#[test]
fn duplicated_by_one_thread_while_closed_by_another() {
    const ROUNDS: usize = 2000;
    let Some(fixture) = fixture() else { return };
    let mut alive = 0;
    accept_all(&fixture, || {
        for _ in 0..ROUNDS {
            let client = fixture.connect();
            let raw = std::os::fd::AsRawFd::as_raw_fd(&client);
            let duplicate = thread::scope(|scope| {
                let duplicating = scope.spawn(move || {
                    // SAFETY: it may be closed by now: then dup fails, which is the other outcome under test.
                    rustix::io::dup(unsafe { std::os::fd::BorrowedFd::borrow_raw(raw) })
                });
                drop(client);
                duplicating.join().unwrap()
            });
            alive += u64::from(duplicate.is_ok());
        }
    });
    fixture.assert_all_closed(ROUNDS as u64);
    println!("{alive} of {ROUNDS} were duplicated in time");
}

#[test]
fn a_full_map_is_counted_and_the_sums_stay_right() {
    const ROOM: u32 = 16;
    const EXCESS: u64 = 9;
    let Some(fixture) = fixture_with(&Options {
        connections: ROOM,
        ..options()
    }) else {
        return;
    };
    let clients: Vec<_> = (0..u64::from(ROOM) + EXCESS).map(|_| fixture.pair()).collect();
    let snapshot = fixture.kernel.snapshot().unwrap();
    let usage = snapshot.maps.iter().find(|map| map.map == "connections").unwrap();
    assert_eq!(
        (usage.entries, usage.capacity, usage.failures),
        (u64::from(ROOM), u64::from(ROOM), EXCESS)
    );
    assert_eq!(fixture.totals(&snapshot).opened, u64::from(ROOM));
    drop(clients);
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (u64::from(ROOM), u64::from(ROOM)));

    let (client, _server) = fixture.pair();
    assert!(
        fixture.kernel.holds(super::inode(&client)).unwrap(),
        "there is room again"
    );
    fixture.checked();
}

#[test]
fn more_peers_than_room_share_one_name() {
    const PEERS: usize = 80;
    let Some(fixture) = fixture() else { return };
    let listeners: Vec<_> = (0..PEERS).map(|_| super::listener()).collect();
    let clients: Vec<_> = listeners
        .iter()
        .map(|(_, path)| UnixStream::connect(path).unwrap())
        .collect();
    let other = |fixture: &Fixture| {
        let snapshot = fixture.checked();
        let other = snapshot
            .peers
            .iter()
            .find(|peer| peer.peer == "other")
            .cloned()
            .unwrap();
        (other.opened, other.closed)
    };
    let (opened, closed) = other(&fixture);
    assert_eq!(
        (opened, closed),
        (PEERS as u64 - 63, 0),
        "64 entries, one of them `other`"
    );
    drop(clients);
    assert_eq!(other(&fixture), (opened, opened));
    for (_, path) in listeners {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_thousand_connections() {
    let Some(fixture) = fixture() else { return };
    let clients: Vec<_> = (0..1000).map(|_| fixture.pair()).collect();
    assert_eq!(fixture.checked().connections.len(), clients.len());
}
