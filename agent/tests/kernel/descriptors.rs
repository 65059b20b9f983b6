//! Several descriptors of one connection, and one number for several connections.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, IntoRawFd as _};

use rustix::io::{self, DupFlags, FdFlags, dup, dup2, dup3, fcntl_dupfd_cloexec, fcntl_setfd};

use super::{Fixture, entry, fixture, inode};

fn counts(fixture: &Fixture) -> (u64, u64) {
    let totals = fixture.totals(&fixture.checked());
    (totals.opened, totals.closed)
}

/// Held until the last descriptor is gone, whichever that is.
fn outlives(duplicate: impl FnOnce(BorrowedFd<'_>) -> io::Result<std::os::fd::OwnedFd>) {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    let inode = inode(&client);
    let copy = duplicate(client.as_fd()).unwrap();
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 2);

    drop(client);
    let snapshot = fixture.checked();
    assert_eq!(snapshot.connections.len(), 1);
    assert_eq!(snapshot.connections[0].fd, copy.as_raw_fd());
    assert_eq!(snapshot.connections[0].descriptors, 1);
    assert!(fixture.kernel.holds(inode).unwrap());

    drop(copy);
    assert!(!fixture.kernel.holds(inode).unwrap());
    assert_eq!(counts(&fixture), (1, 1));
}

#[test]
fn dup_outlives() {
    outlives(|fd| dup(fd));
}

#[test]
fn fcntl_dupfd_outlives() {
    outlives(|fd| fcntl_dupfd_cloexec(fd, 100));
}

#[test]
fn dup2_and_dup3_close_their_target() {
    let Some(fixture) = fixture() else { return };
    for three in [false, true] {
        let (first, _first_server) = fixture.pair();
        let (second, _second_server) = fixture.pair();
        let replaced = inode(&second);
        let mut target = std::os::fd::OwnedFd::from(second);
        if three {
            dup3(&first, &mut target, DupFlags::CLOEXEC).unwrap();
        } else {
            dup2(&first, &mut target).unwrap();
        }
        assert!(!fixture.kernel.holds(replaced).unwrap());
        assert_eq!(entry(&fixture.checked(), &first).descriptors, 2);
        drop(first);
        assert_eq!(fixture.checked().connections.len(), 1);
        drop(target);
        assert!(fixture.checked().connections.is_empty());
    }
    assert_eq!(counts(&fixture), (4, 4));
}

#[test]
fn dup2_onto_itself_changes_nothing() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    // SAFETY: forgotten below, so that it is closed once.
    let mut same = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(client.as_raw_fd()) };
    dup2(&client, &mut same).unwrap();
    let _ = same.into_raw_fd();
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 1);
}

#[test]
fn other_fcntl_commands_change_nothing() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    fcntl_setfd(&client, FdFlags::CLOEXEC).unwrap();
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 1);
}

#[test]
fn failed_duplicates_change_nothing() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    fcntl_dupfd_cloexec(&client, i32::MAX).unwrap_err();
    drop(client);
    assert_eq!(counts(&fixture), (1, 1));
}

#[test]
fn a_close_of_a_bad_descriptor_changes_nothing() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    for fd in [client.as_raw_fd() + 500, 1_000_000, i32::MAX] {
        // SAFETY: not open, which is the point.
        assert_eq!(unsafe { libc::close(fd) }, -1);
    }
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 1);
    assert_eq!(counts(&fixture), (1, 0));
}

#[test]
fn a_number_used_again_at_once() {
    let Some(fixture) = fixture() else { return };
    let (first, _first_server) = fixture.pair();
    let (number, old) = (first.as_raw_fd(), inode(&first));
    drop(first);
    let (second, _second_server) = fixture.pair();
    assert_eq!(second.as_raw_fd(), number, "the lowest number is given");
    assert!(!fixture.kernel.holds(old).unwrap());
    assert!(fixture.kernel.holds(inode(&second)).unwrap());
    fixture.checked();
}

/// What issue 2 calls a leak: the owner let go, a descriptor is left.
#[test]
fn a_forgotten_clone_is_a_leak() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    let inode = inode(&client);
    let forgotten = client.try_clone().unwrap().into_raw_fd();
    drop(client);
    assert!(
        fixture.kernel.holds(inode).unwrap(),
        "socket:[{inode}] is still open as {forgotten}"
    );
    assert_eq!(fixture.checked().connections[0].fd, forgotten);
    // SAFETY: `into_raw_fd` gave it to us.
    unsafe { io::close(forgotten) };
    assert_eq!(counts(&fixture), (1, 1));
}
