//! Every descriptor by kind, against `/proc/self/fd`.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::net::{UnixDatagram, UnixStream},
    },
    process::Command,
};

use log_capturer::kernel::{Kind, KindTotals, Tier};
use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fs::{MemfdFlags, memfd_create},
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
    pipe::{PipeFlags, pipe_with},
    process::{PidfdFlags, getpid, pidfd_open},
    time::{TimerfdClockId, TimerfdFlags, timerfd_create},
};

use super::{Fixture, entry, fixture, fixture_in, options, preempts, turn};

impl Fixture {
    /// The ledger of all descriptors, in agreement with its witnesses.
    pub fn fds(&self) -> Vec<KindTotals> {
        let fds = self.kernel.snapshot().expect("snapshot").fds;
        let drift = self.kernel.drift().expect("drift").expect("a quiet moment");
        assert!(drift.is_empty(), "{drift:?} of {fds:?}");
        assert!(preempts() || fds.iter().all(|totals| totals.repaired == 0), "{fds:?}");
        fds
    }

    fn fd(&self, kind: Kind) -> KindTotals {
        let all = self.fds();
        *all.iter().find(|totals| totals.kind == kind).expect("every kind")
    }

    /// `make` opens `count` descriptors of a kind, each by a call that is seen; dropping what it made closes them.
    #[track_caller]
    fn born<T>(&self, kind: Kind, count: u64, make: impl FnOnce() -> T) {
        let before = self.fd(kind);
        let made = make();
        let open = self.fd(kind);
        // The look at /proc opens and closes a descriptor, too.
        let own = u64::from(kind == Kind::File);
        assert_eq!(open.open, before.open + count, "{kind:?}");
        assert_eq!(open.opened, before.opened + count + own, "{kind:?}");
        assert_eq!(open.found, before.found, "{kind:?}: no hook saw it");
        drop(made);
        let after = self.fd(kind);
        assert_eq!(after.open, before.open, "{kind:?}");
        assert_eq!(after.closed, before.closed + count + 2 * own, "{kind:?}");
    }
}

#[test]
fn one_of_each_kind() {
    let Some(fixture) = fixture() else { return };
    fixture.born(Kind::Unix, 2, || UnixStream::pair().unwrap());
    fixture.born(Kind::Unix, 1, || UnixDatagram::unbound().unwrap());
    fixture.born(Kind::Tcp, 1, || TcpListener::bind("127.0.0.1:0").unwrap());
    fixture.born(Kind::Udp, 1, || UdpSocket::bind("127.0.0.1:0").unwrap());
    fixture.born(Kind::File, 1, || File::open("/dev/null").unwrap());
    fixture.born(Kind::File, 1, || File::open("/").unwrap());
    fixture.born(Kind::File, 1, || memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
    fixture.born(Kind::Pipe, 2, || pipe_with(PipeFlags::CLOEXEC).unwrap());
    fixture.born(Kind::Epoll, 1, || epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    fixture.born(Kind::Eventfd, 1, || eventfd(0, EventfdFlags::CLOEXEC).unwrap());
    fixture.born(Kind::Timerfd, 1, || {
        timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap()
    });
    fixture.born(Kind::Other, 1, || pidfd_open(getpid(), PidfdFlags::empty()).unwrap());
    fixture.born(Kind::Other, 1, || {
        rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC).unwrap()
    });
    fixture.born(Kind::File, 2, || {
        let file = File::open("/dev/null").unwrap();
        (file.try_clone().unwrap(), file)
    });
}

#[test]
fn accepted_and_connected() {
    let Some(fixture) = fixture() else { return };
    fixture.born(Kind::Unix, 2, || fixture.pair());
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    fixture.born(Kind::Tcp, 2, || {
        let client = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        (client, server.accept().unwrap())
    });
}

/// Every kind that this process has since before the attach.
#[test]
fn open_before_the_attach() {
    let turn = turn();
    let pipe = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let file = File::open("/dev/null").unwrap();
    let unix = UnixStream::pair().unwrap();
    let Some(fixture) = fixture_in(turn, &options()) else {
        return;
    };
    for (kind, least) in [(Kind::Pipe, 2), (Kind::File, 1), (Kind::Unix, 2), (Kind::Bpf, 1)] {
        let totals = fixture.fd(kind);
        assert!(totals.preexisting >= least, "{totals:?}");
    }
    let (before, before_unix) = (fixture.fd(Kind::Pipe), fixture.fd(Kind::Unix));
    drop((pipe, file, unix));
    assert_eq!(fixture.fd(Kind::Pipe).closed, before.closed + 2);
    assert_eq!(fixture.fd(Kind::Unix).closed, before_unix.closed + 2);
}

#[test]
fn dup2_over_another_of_the_same_kind_and_of_another() {
    let Some(fixture) = fixture() else { return };
    let file = File::open("/dev/null").unwrap();
    let mut same = OwnedFd::from(File::open("/dev/zero").unwrap());
    let mut other = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let (files, events) = (fixture.fd(Kind::File), fixture.fd(Kind::Eventfd));
    rustix::io::dup2(&file, &mut same).unwrap();
    rustix::io::dup2(&file, &mut other).unwrap();
    let (files_after, events_after) = (fixture.fd(Kind::File), fixture.fd(Kind::Eventfd));
    assert_eq!(files_after.open, files.open + 1);
    // Two of them from the two looks at /proc.
    assert_eq!(files_after.opened, files.opened + 2 + 2);
    assert_eq!(files_after.closed, files.closed + 1 + 2);
    assert_eq!(
        (events_after.open, events_after.closed),
        (events.open - 1, events.closed + 1)
    );
}

#[test]
fn failures_change_nothing() {
    let Some(fixture) = fixture() else { return };
    let mut target = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let before = fixture.fd(Kind::Eventfd);
    // SAFETY: neither is open, which is the point.
    unsafe {
        let bad = std::os::fd::BorrowedFd::borrow_raw(9999);
        rustix::io::dup2(bad, &mut target).unwrap_err();
        assert_eq!(libc::close(9999), -1);
        // The first after the last; then flags that do not exist.
        assert_eq!(libc::syscall(libc::SYS_close_range, 9u32, 8u32, 0u32), -1);
        assert_eq!(
            libc::syscall(libc::SYS_close_range, target.as_raw_fd(), u32::MAX, 128u32),
            -1
        );
    }
    File::open("/nonexistent").unwrap_err();
    assert_eq!(fixture.fd(Kind::Eventfd), before);
}

#[test]
fn close_range_closes_all_of_them() {
    const COUNT: u64 = 1500;
    let Some(fixture) = fixture() else { return };
    let before = fixture.fd(Kind::Eventfd);
    let (unix, held) = (fixture.fd(Kind::Unix), fixture.checked().connections.len());
    let kept = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let client = fixture.connect();
    let low = rustix::io::fcntl_dupfd_cloexec(&client, 2000).unwrap().as_raw_fd();
    drop(client);
    for number in 0..COUNT {
        let fd = rustix::io::fcntl_dupfd_cloexec(&kept, low + 1).unwrap();
        assert!(fd.as_raw_fd() as u64 >= number);
        std::mem::forget(fd);
    }
    std::mem::forget(rustix::io::fcntl_dupfd_cloexec(fixture.connect(), low + 1).unwrap());
    assert_eq!(fixture.fd(Kind::Eventfd).open, before.open + COUNT + 1);
    assert_eq!(fixture.checked().connections.len(), held + 1);
    let close_range = |flags: libc::c_uint| {
        // SAFETY: all of them were given up above.
        assert_eq!(unsafe { libc::close_range(low as u32, u32::MAX, flags as i32) }, 0);
    };
    close_range(libc::CLOSE_RANGE_CLOEXEC);
    assert_eq!(fixture.fd(Kind::Eventfd).open, before.open + COUNT + 1, "only marked");
    close_range(0);
    let after = fixture.fd(Kind::Eventfd);
    assert_eq!((after.open, after.closed), (before.open + 1, before.closed + COUNT));
    assert_eq!(fixture.fd(Kind::Unix).open, unix.open);
    assert!(fixture.checked().connections.is_empty());
}

pub fn send(over: impl AsFd, fd: impl AsFd) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    sendmsg(over, &[IoSlice::new(b"x")], &mut control, SendFlags::empty()).unwrap();
}

pub fn receive(over: impl AsFd) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(
        over,
        &mut [IoSliceMut::new(&mut [0])],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let mut received = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    received.next().unwrap().next().unwrap()
}

/// Tier `tracepoint` has no hook for `recvmsg`: what it brings is found. Tier `fentry` sees where every descriptor is made.
#[test]
fn received_through_scm_rights() {
    let Some(fixture) = fixture() else { return };
    let (left, right) = UnixDatagram::pair().unwrap();
    let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let before = fixture.fd(Kind::Eventfd);
    let found = u64::from(fixture.kernel.tier() == Tier::Tracepoint);

    send(&left, &event);
    assert_eq!(fixture.fd(Kind::Eventfd), before, "in flight it is no descriptor");
    let received = receive(&right);
    let after = fixture.fd(Kind::Eventfd);
    assert_eq!(
        (after.open, after.opened, after.found),
        (before.open + 1, before.opened + 1, before.found + found)
    );
    drop(received);

    // Closed before anybody looked.
    send(&left, &event);
    drop(receive(&right));
    let after = fixture.fd(Kind::Eventfd);
    assert_eq!(
        (after.open, after.opened, after.closed),
        (before.open, before.opened + 2, before.closed + 2)
    );
    assert_eq!(after.found, before.found + 2 * found);
}

#[test]
fn a_connection_sent_through_scm_rights() {
    let Some(fixture) = fixture() else { return };
    // No stream: `ss` cannot tell a pair's ends from a client's.
    let (left, right) = UnixDatagram::pair().unwrap();
    let (client, _server) = fixture.pair();
    send(&left, &client);
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 1);
    let received = receive(&right);
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 2);
    drop(client);
    let received = UnixStream::from(received);
    assert_eq!(entry(&fixture.checked(), &received).descriptors, 1);
    // The last descriptor goes while another is under way.
    send(&left, &received);
    drop(received);
    assert!(fixture.checked().connections.is_empty());
    let received = UnixStream::from(receive(&right));
    let found = entry(&fixture.checked(), &received);
    assert_eq!(
        (found.descriptors, found.peer.as_str()),
        (1, fixture.path.to_str().unwrap())
    );
    drop(received);
    assert!(fixture.checked().connections.is_empty());
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (2, 2), "let go, and taken again");
}

#[test]
fn connected_before_the_attach() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    let fixture = fixture.attached_again();
    assert_eq!(entry(&fixture.checked(), &client).peer, fixture.path.to_str().unwrap());
    drop(client);
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (1, 1));
}

/// What a child does with its copies is not our doing.
#[test]
fn a_child_has_a_ledger_of_its_own() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    rustix::io::fcntl_setfd(&client, rustix::io::FdFlags::empty()).unwrap();
    let before = fixture.fds();
    // Duplicates and closes; ends without closing the connection that it has inherited.
    let status = Command::new("sh")
        .args(["-c", "exec 9</dev/null 8<&9 9<&-; exec true"])
        .status()
        .unwrap();
    assert!(status.success());
    let after = fixture.fds();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.open, after.open, "{:?}", after.kind);
    }
    assert_eq!(entry(&fixture.checked(), &client).descriptors, 1);
}
