//! Which end ended: the states of an AF_UNIX connection.

use std::net::Shutdown;

use super::{State, fixture, witness};

#[test]
fn not_yet_accepted_is_established() {
    let Some(fixture) = fixture() else { return };
    let client = fixture.connect();
    assert_eq!(fixture.state(&client), State::Established);
    let server = fixture.server.accept().unwrap().0;
    assert_eq!(fixture.state(&client), State::Established);
    drop(server);
}

#[test]
fn the_peer_shuts_down_its_writing() {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(fixture.state(&client), State::HalfClosed);
    drop(client);
    assert_eq!(fixture.totals(&fixture.checked()).closed_after_peer, 1);
}

#[test]
fn the_peer_closes() {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    drop(server);
    assert_eq!(fixture.state(&client), State::PeerGone);
    drop(client);
    assert_eq!(fixture.totals(&fixture.checked()).closed_after_peer, 1);
}

#[test]
fn the_listener_closes_before_it_accepted() {
    let Some(mut fixture) = fixture() else { return };
    let client = fixture.connect();
    fixture.server = super::listener().0;
    assert_eq!(fixture.state(&client), State::PeerGone);
}

#[test]
fn our_own_shutdown_is_not_the_peers() {
    let Some(fixture) = fixture() else { return };
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let (client, server) = fixture.pair();
        client.shutdown(how).unwrap();
        assert_eq!(fixture.state(&client), State::Established, "{how:?}");
        drop(client);
        assert_eq!(fixture.totals(&fixture.checked()).closed_after_peer, 0, "{how:?}");
        drop(server);
    }
}

#[test]
fn the_peer_closes_after_our_own_shutdown() {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    client.shutdown(Shutdown::Both).unwrap();
    drop(server);
    assert_eq!(fixture.state(&client), State::PeerGone);
    drop(client);
    assert_eq!(fixture.totals(&fixture.checked()).closed_after_peer, 1);
}

#[test]
fn the_peer_shuts_down_after_we_ended_our_writing() {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    client.shutdown(Shutdown::Write).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(fixture.state(&client), State::HalfClosed);
}

/// Only client ends are connections of ours; the witness must not be blind to the others.
#[test]
fn accepted_ends_are_not_counted() {
    let Some(fixture) = fixture() else { return };
    let (_client, server) = fixture.pair();
    assert!(witness::proc_sockets().contains_key(&super::inode(&server)));
    assert_eq!(fixture.checked().connections.len(), 1);
}
