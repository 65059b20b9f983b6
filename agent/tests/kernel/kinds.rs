//! Each kind of descriptor that a process can have goes by the name that `/proc` has for it.

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;

use log_capturer::kernel::Kind;
use rustix::fs::{MemfdFlags, Mode, OFlags, inotify, memfd_create, open};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::{Fixture, fixture};

/// By number and arguments; none where the kernel or the machine lacks it.
fn call(number: libc::c_long, arguments: [usize; 4]) -> Option<OwnedFd> {
    let [a, b, c, d] = arguments;
    // SAFETY: the callers below give numbers, or addresses of what lives as long as the call.
    let fd = unsafe { libc::syscall(number, a, b, c, d) };
    // SAFETY: a new descriptor, that nobody else has.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn socket(family: i32, kind: i32, protocol: i32) -> Option<OwnedFd> {
    call(libc::SYS_socket, [family as usize, kind as usize, protocol as usize, 0])
}

fn by_path(path: &str, flags: OFlags) -> OwnedFd {
    open(path, flags | OFlags::CLOEXEC, Mode::empty()).expect(path)
}

impl Fixture {
    /// The ledger says the same as `/proc`, and what is expected.
    #[track_caller]
    fn is_of(&self, kind: Kind, what: &str, fd: Option<OwnedFd>) {
        let open = |fixture: &Self| {
            let fds = fixture.fds();
            fds.iter().find(|totals| totals.kind == kind).expect("every kind").open
        };
        let Some(fd) = fd else {
            return println!("not here: {what}");
        };
        let with = open(self);
        drop(fd);
        assert_eq!(open(self), with - 1, "{what} is no {}", kind.as_str());
    }
}

#[test]
fn by_a_path() {
    let Some(fixture) = fixture() else { return };
    let directory = std::env::temp_dir().join(format!("ledger-kinds-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let below = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (fifo, socket) = (below("fifo"), below("socket"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        fifo.as_str(),
        rustix::fs::FileType::Fifo,
        Mode::RUSR | Mode::WUSR,
        0,
    )
    .unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    fixture.is_of(Kind::Pipe, "a FIFO", Some(by_path(&fifo, OFlags::RDWR)));
    for path in [&fifo, &socket, "/", "/dev/null"] {
        fixture.is_of(Kind::File, path, Some(by_path(path, OFlags::PATH)));
    }
    fixture.is_of(Kind::File, "a directory", Some(by_path("/", OFlags::RDONLY)));
    fixture.is_of(
        Kind::File,
        "a character device",
        Some(by_path("/dev/null", OFlags::RDWR)),
    );
    fixture.is_of(
        Kind::File,
        "a file of /proc",
        Some(by_path("/proc/self/maps", OFlags::RDONLY)),
    );
    fixture.is_of(
        Kind::Other,
        "a namespace",
        Some(by_path("/proc/self/ns/net", OFlags::RDONLY)),
    );
    let gone = below("gone");
    let file = File::create(&gone).unwrap();
    fs::remove_file(&gone).unwrap();
    fixture.is_of(Kind::File, "a file without a name", Some(file.into()));

    // A magic link opens what has no path.
    let link = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let (pipe, _other) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let memory = memfd_create("kinds", MemfdFlags::CLOEXEC).unwrap();
    let listener = OwnedFd::from(listener);
    fixture.is_of(
        Kind::Pipe,
        "a pipe, opened again",
        Some(by_path(&link(&pipe), OFlags::RDONLY | OFlags::NONBLOCK)),
    );
    fixture.is_of(
        Kind::File,
        "a memfd, opened again",
        Some(by_path(&link(&memory), OFlags::RDONLY)),
    );
    for fd in [&pipe, &memory, &listener] {
        fixture.is_of(
            Kind::File,
            "a path to what has none",
            Some(by_path(&link(fd), OFlags::PATH)),
        );
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn by_a_call() {
    let Some(fixture) = fixture() else { return };
    let (mask, uring) = (0_u64, [0_u8; 128]);
    let others = [
        ("a pidfd", pidfd_open(getpid(), PidfdFlags::empty()).ok()),
        ("an inotify", inotify::init(inotify::CreateFlags::CLOEXEC).ok()),
        ("a fanotify", call(libc::SYS_fanotify_init, [0, 0, 0, 0])),
        (
            "a signalfd",
            call(libc::SYS_signalfd4, [usize::MAX, (&raw const mask) as usize, 8, 0]),
        ),
        ("a userfaultfd", call(libc::SYS_userfaultfd, [1, 0, 0, 0])),
        (
            "an io_uring",
            call(libc::SYS_io_uring_setup, [4, uring.as_ptr() as usize, 0, 0]),
        ),
        (
            "a mount to be",
            call(libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, 0, 0, 0]),
        ),
    ];
    for (what, fd) in others {
        fixture.is_of(Kind::Other, what, fd);
    }
    fixture.is_of(Kind::File, "a secret memfd", call(libc::SYS_memfd_secret, [0, 0, 0, 0]));
    let flags = (libc::O_CREAT | libc::O_RDWR) as usize;
    let queue = call(
        libc::SYS_mq_open,
        [c"log-capturer-kinds".as_ptr() as usize, flags, 0o600, 0],
    );
    fixture.is_of(Kind::File, "a message queue", queue);
    // SAFETY: a name, which ends with a zero.
    unsafe { libc::syscall(libc::SYS_mq_unlink, c"log-capturer-kinds".as_ptr()) };
}

#[test]
fn sockets() {
    use libc::{
        AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, AF_VSOCK, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MPTCP,
        IPPROTO_UDPLITE, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_STREAM,
    };
    const AF_XDP: i32 = 44;
    let Some(fixture) = fixture() else { return };
    let all = [
        (Kind::Unix, "a unix stream", socket(AF_UNIX, SOCK_STREAM, 0)),
        (Kind::Unix, "a unix datagram", socket(AF_UNIX, SOCK_DGRAM, 0)),
        (Kind::Unix, "a unix raw", socket(AF_UNIX, SOCK_RAW, 0)),
        (Kind::Unix, "a unix seqpacket", socket(AF_UNIX, SOCK_SEQPACKET, 0)),
        (Kind::Tcp, "a TCP", socket(AF_INET, SOCK_STREAM, 0)),
        (Kind::Tcp, "a TCP of IPv6", socket(AF_INET6, SOCK_STREAM, 0)),
        (Kind::Tcp, "an MPTCP", socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP)),
        (Kind::Udp, "a UDP", socket(AF_INET, SOCK_DGRAM, 0)),
        (Kind::Udp, "a UDP of IPv6", socket(AF_INET6, SOCK_DGRAM, 0)),
        (Kind::Udp, "a UDP-Lite", socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)),
        (Kind::Udp, "a ping", socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)),
        (Kind::Other, "a raw", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)),
        (Kind::Other, "a raw of IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)),
        (Kind::Other, "a netlink", socket(AF_NETLINK, SOCK_RAW, 0)),
        (Kind::Other, "a packet", socket(AF_PACKET, SOCK_RAW, 0)),
        (Kind::Other, "a vsock", socket(AF_VSOCK, SOCK_STREAM, 0)),
        (Kind::Other, "an XDP", socket(AF_XDP, SOCK_RAW, 0)),
    ];
    for (kind, what, fd) in all {
        fixture.is_of(kind, what, fd);
    }
}
