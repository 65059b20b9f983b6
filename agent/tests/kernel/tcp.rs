//! TCP connections: what AF_UNIX has not.

use std::{
    mem::size_of,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::net::UnixDatagram,
    },
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, connect, listen, socket_with, sockopt},
};

use super::{
    Fixture, PeerTotals, Snapshot, State, entry,
    fds::{receive, send},
    fixture, inode, totals_of, witness,
};

fn listener() -> (TcpListener, SocketAddr) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    (server, address)
}

fn pair() -> (TcpStream, TcpStream, TcpListener) {
    let (server, address) = listener();
    let client = TcpStream::connect(address).unwrap();
    let accepted = server.accept().unwrap().0;
    (client, accepted, server)
}

/// A client that does not wait for its peer, and what `connect` said.
fn connecting(address: SocketAddr) -> (OwnedFd, rustix::io::Result<()>) {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let result = connect(&client, &address);
    (client, result)
}

/// Packets on the loopback take their time when the machine is busy.
#[track_caller]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn has_state(socket: impl AsFd, wanted: &str) -> bool {
    let inode = inode(socket);
    let states = witness::ss_tcp();
    states.iter().any(|tcp| tcp.inode == inode && tcp.state == wanted)
}

fn totals(snapshot: &Snapshot, address: SocketAddr) -> (u64, u64, u64) {
    let PeerTotals {
        opened,
        closed,
        closed_after_peer,
        ..
    } = totals_of(snapshot, &address.to_string());
    (opened, closed, closed_after_peer)
}

#[test]
fn from_connect_to_close() {
    let Some(fixture) = fixture() else { return };
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = TcpListener::bind(address).unwrap();
        let address = server.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let accepted = server.accept().unwrap().0;
        let snapshot = fixture.checked();
        assert_eq!(snapshot.connections.len(), 1, "not the accepted end");
        let seen = entry(&snapshot, &client);
        assert_eq!((seen.fd, seen.descriptors), (client.as_raw_fd(), 1));
        assert_eq!(seen.peer, address.to_string());
        assert_eq!((seen.state, seen.ended), (State::Established, None));
        assert!(!fixture.accounts_for(&accepted));
        drop(client);
        assert_eq!(totals(&fixture.checked(), address), (1, 1, 0));
    }
    let snapshot = fixture.checked();
    assert_eq!(snapshot.ages.counts.iter().sum::<u64>(), 2);
    assert_eq!(snapshot.close_waits.counts.iter().sum::<u64>(), 0);
}

/// `::ffff:127.0.0.1`
#[test]
fn an_ipv4_peer_of_an_ipv6_socket_goes_by_one_name() {
    let Some(fixture) = fixture() else { return };
    let (_server, address) = listener();
    let SocketAddr::V4(v4) = address else { unreachable!() };
    let mapped = SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port());
    let client = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    connect(&client, &mapped).unwrap();
    let _other = TcpStream::connect(address).unwrap();
    let snapshot = fixture.checked();
    assert_eq!(entry(&snapshot, &client).peer, address.to_string());
    assert_eq!(totals(&snapshot, address), (2, 0, 0));
}

#[test]
fn close_wait() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, server) = pair();
    drop(accepted);
    eventually("CLOSE-WAIT", || has_state(&client, "CLOSE-WAIT"));
    assert_eq!(witness::proc_tcp()[&inode(&client)], "08", "TCP_CLOSE_WAIT");
    let seen = entry(&fixture.checked(), &client);
    assert_eq!(seen.state, State::HalfClosed);
    let ended = seen.ended.expect("the peer has ended");
    assert!(ended <= seen.age, "{seen:?}");

    let more = Duration::from_millis(20);
    std::thread::sleep(more);
    assert!(entry(&fixture.checked(), &client).ended.unwrap() >= ended + more);
    drop(client);
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, server.local_addr().unwrap()), (1, 1, 1));
    assert_eq!(snapshot.close_waits.counts.iter().sum::<u64>(), 1);
    assert!(u128::from(snapshot.close_waits.sum_ns) >= (ended + more).as_nanos());
}

/// The tracepoint tells when, not the look.
#[test]
fn the_time_of_close_wait_is_the_packets() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, _server) = pair();
    drop(accepted);
    eventually("CLOSE-WAIT", || has_state(&client, "CLOSE-WAIT"));
    let waited = Duration::from_millis(50);
    std::thread::sleep(waited);
    let seen = entry(&fixture.kernel.snapshot().unwrap(), &client);
    assert!(seen.ended.unwrap() >= waited, "{seen:?}");
}

#[test]
fn our_own_shutdown_is_not_the_peers() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, server) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    eventually("FIN-WAIT-2", || has_state(&client, "FIN-WAIT-2"));
    assert_eq!(fixture.state(&client), State::Established);
    drop(client);
    assert_eq!(totals(&fixture.checked(), server.local_addr().unwrap()), (1, 1, 0));
    drop(accepted);
}

#[test]
fn the_peer_ends_after_our_own_shutdown() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, server) = pair();
    client.shutdown(Shutdown::Write).unwrap();
    eventually("FIN-WAIT-2", || has_state(&client, "FIN-WAIT-2"));
    drop(accepted);
    // Both ends are through: no witness lists the socket any more, but its descriptor is open.
    eventually("both ends", || !witness::proc_tcp().contains_key(&inode(&client)));
    let seen = entry(&fixture.kernel.snapshot().unwrap(), &client);
    assert_eq!((seen.state, seen.descriptors), (State::PeerGone, 1));
    assert!(seen.ended.is_some());
    drop(client);
    assert_eq!(totals(&fixture.checked(), server.local_addr().unwrap()), (1, 1, 1));
}

#[test]
fn we_end_our_writing_after_the_peer() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, _server) = pair();
    accepted.shutdown(Shutdown::Write).unwrap();
    eventually("CLOSE-WAIT", || has_state(&client, "CLOSE-WAIT"));
    assert_eq!(fixture.state(&client), State::HalfClosed);
    client.shutdown(Shutdown::Write).unwrap();
    eventually("both ends", || !witness::proc_tcp().contains_key(&inode(&client)));
    let seen = entry(&fixture.kernel.snapshot().unwrap(), &client);
    assert_eq!(seen.state, State::PeerGone);
}

#[test]
fn reset_by_the_peer() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, server) = pair();
    sockopt::set_socket_linger(&accepted, Some(Duration::ZERO)).unwrap();
    drop(accepted);
    eventually("the reset", || !witness::proc_tcp().contains_key(&inode(&client)));
    let seen = entry(&fixture.kernel.snapshot().unwrap(), &client);
    assert_eq!((seen.state, seen.descriptors), (State::PeerGone, 1));
    assert!(seen.ended.is_some());
    drop(client);
    assert_eq!(totals(&fixture.checked(), server.local_addr().unwrap()), (1, 1, 1));
}

const ECONNREFUSED: i32 = 111;

#[test]
fn refused() {
    let Some(fixture) = fixture() else { return };
    let (server, address) = listener();
    drop(server);
    TcpStream::connect(address).unwrap_err();
    let snapshot = fixture.checked();
    assert_eq!(snapshot.connect_errors, [(ECONNREFUSED, 1)]);
    assert!(snapshot.peers.is_empty(), "{:?}", snapshot.peers);
}

#[test]
fn a_connect_that_does_not_wait_opens_when_it_is_established() {
    let Some(fixture) = fixture() else { return };
    let (_server, address) = listener();
    let (client, result) = connecting(address);
    assert_eq!(result, Err(Errno::INPROGRESS));
    eventually("ESTAB", || has_state(&client, "ESTAB"));
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, address), (1, 0, 0));
    assert!(snapshot.connect_errors.is_empty(), "EINPROGRESS is no failure");
    // As a program may find out that it is.
    connect(&client, &address).unwrap();
    assert_eq!(totals(&fixture.checked(), address), (1, 0, 0));
    drop(client);
    assert_eq!(totals(&fixture.checked(), address), (1, 1, 0));
}

/// A listener whose queue is full does not answer.
fn unanswered() -> (TcpListener, SocketAddr, Vec<OwnedFd>, OwnedFd) {
    let (server, address) = listener();
    // Not 0, by which an accepted end would be taken for one that connected.
    listen(&server, 1).unwrap();
    let mut answered = Vec::new();
    loop {
        let (client, result) = connecting(address);
        assert_eq!(result, Err(Errno::INPROGRESS));
        // On the loopback an answer comes before `connect` returns, or with the machine's next breath: before that of an
        // attempt that is made afterwards.
        let (_other, other_address) = listener();
        let (later, _) = connecting(other_address);
        eventually("ESTAB", || has_state(&later, "ESTAB"));
        std::thread::sleep(Duration::from_millis(50));
        if !has_state(&client, "ESTAB") {
            assert!(has_state(&client, "SYN-SENT"));
            return (server, address, answered, client);
        }
        answered.push(client);
    }
}

#[test]
fn given_up_before_it_was_answered_it_was_never_open() {
    let Some(fixture) = fixture() else { return };
    let (_server, address, answered, pending) = unanswered();
    let before = answered.len() as u64;
    assert_eq!(totals(&fixture.checked(), address), (before, 0, 0));
    let duplicate = pending.try_clone().unwrap();
    drop(pending);
    assert_eq!(totals(&fixture.checked(), address), (before, 0, 0));
    drop(duplicate);
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, address), (before, 0, 0));
    assert!(snapshot.connect_errors.is_empty(), "{:?}", snapshot.connect_errors);
}

#[test]
fn answered_late() {
    let Some(fixture) = fixture() else { return };
    let (server, address, answered, pending) = unanswered();
    let before = answered.len() as u64;
    assert_eq!(fixture.checked().connections.len(), answered.len());
    let _accepted: Vec<_> = answered.iter().map(|_| server.accept().unwrap()).collect();
    // The next SYN is sent after a second.
    eventually("ESTAB", || has_state(&pending, "ESTAB"));
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, address), (before + 1, 0, 0));
    let seen = entry(&snapshot, &pending);
    assert_eq!(seen.peer, address.to_string());
    drop(pending);
    assert_eq!(totals(&fixture.checked(), address), (before + 1, 1, 0));
}

#[test]
fn a_connect_that_does_not_wait_and_is_refused() {
    let Some(fixture) = fixture() else { return };
    let (refusing, nobody) = listener();
    drop(refusing);
    let (client, result) = connecting(nobody);
    assert_eq!(result, Err(Errno::INPROGRESS));
    eventually("the refusal", || !witness::proc_tcp().contains_key(&inode(&client)));
    let snapshot = fixture.checked();
    assert_eq!(snapshot.connect_errors, [(ECONNREFUSED, 1)]);
    assert!(snapshot.peers.is_empty(), "{:?}", snapshot.peers);
    // The same attempt's end, told to the process.
    assert_eq!(connect(&client, &nobody), Err(Errno::CONNREFUSED));
    assert_eq!(fixture.checked().connect_errors, [(ECONNREFUSED, 1)]);

    // The socket is good for another attempt, at another peer.
    let (_server, address) = listener();
    assert_eq!(connect(&client, &address), Err(Errno::INPROGRESS));
    eventually("ESTAB", || has_state(&client, "ESTAB"));
    let snapshot = fixture.checked();
    assert_eq!(entry(&snapshot, &client).peer, address.to_string());
    assert_eq!(totals(&snapshot, address), (1, 0, 0));
    drop(client);
    assert_eq!(totals(&fixture.checked(), address), (1, 1, 0));
}

/// `connect` to `AF_UNSPEC`.
#[test]
fn disconnected_and_connected_again() {
    let Some(fixture) = fixture() else { return };
    let (client, _accepted, server) = pair();
    let nobody = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as u16,
        sa_data: [0; 14],
    };
    // SAFETY: a whole `sockaddr`.
    let result = unsafe {
        libc::connect(
            client.as_raw_fd(),
            &raw const nobody,
            size_of::<libc::sockaddr>() as u32,
        )
    };
    assert_eq!(result, 0);
    let address = server.local_addr().unwrap();
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, address), (1, 1, 0));
    assert!(snapshot.connections.is_empty());
    connect(&client, &address).unwrap();
    let snapshot = fixture.checked();
    assert_eq!(totals(&snapshot, address), (2, 1, 0));
    assert_eq!(entry(&snapshot, &client).state, State::Established);
}

#[test]
fn duplicates_outlive() {
    let Some(fixture) = fixture() else { return };
    let (client, _accepted, server) = pair();
    let duplicate = client.try_clone().unwrap();
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 2);
    drop(client);
    assert_eq!(fixture.checked().connections[0].fd, duplicate.as_raw_fd());
    drop(duplicate);
    assert_eq!(totals(&fixture.checked(), server.local_addr().unwrap()), (1, 1, 0));
}

/// Only the client's end is ours to count, however both ends came here.
fn client_alone(fixture: &Fixture, client: impl AsFd, accepted: impl AsFd) {
    let snapshot = fixture.checked();
    assert_eq!(snapshot.connections.len(), 1);
    assert_eq!(entry(&snapshot, client).descriptors, 1);
    assert!(!fixture.accounts_for(accepted));
}

#[test]
fn received_through_scm_rights() {
    let Some(fixture) = fixture() else { return };
    let (left, right) = UnixDatagram::pair().unwrap();
    let (client, accepted, server) = pair();
    for fd in [OwnedFd::from(client), OwnedFd::from(accepted)] {
        send(&left, &fd);
    }
    let address = server.local_addr().unwrap();
    assert_eq!(
        totals(&fixture.checked(), address),
        (1, 1, 0),
        "under way, it is nobody's"
    );
    let (client, accepted) = (receive(&right), receive(&right));
    client_alone(&fixture, &client, &accepted);
    assert_eq!(entry(&fixture.checked(), &client).peer, address.to_string());
    drop(client);
    assert_eq!(totals(&fixture.checked(), address), (2, 2, 0));
}

#[test]
fn connected_before_the_attach() {
    let Some(fixture) = fixture() else { return };
    let (client, accepted, server) = pair();
    let (_late, late_accepted, _late_server) = pair();
    drop(late_accepted);
    let fixture = fixture.attached_again();
    let snapshot = fixture.checked();
    assert_eq!(snapshot.connections.len(), 2);
    let address = server.local_addr().unwrap();
    assert_eq!(entry(&snapshot, &client).peer, address.to_string());
    assert!(!fixture.accounts_for(&accepted));
    drop(client);
    assert_eq!(totals(&fixture.checked(), address), (1, 1, 0));
}
