//! What `/proc` says that this process has open, by kind: no BPF takes part in it.

#![expect(unsafe_code, reason = "descriptors are looked at that others own")]

use std::{io, os::fd::BorrowedFd};

use abi::{KINDS, Kind};
use rustix::{
    fs::{FileType, OFlags, fcntl_getfl, fstat},
    net::{AddressFamily, SocketType, sockopt},
};

use super::samples::links;

/// Descriptors, indexed by [`Kind`].
pub(super) type Counts = [u64; KINDS as usize];

pub(super) fn count() -> io::Result<Counts> {
    let mut counts = Counts::default();
    for (fd, target) in links()? {
        // SAFETY: it is asked for its type at once, and not kept; should it have been closed meanwhile, it is not counted.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        if let Some(kind) = kind(fd, &target) {
            counts[kind as usize] += 1;
        }
    }
    Ok(counts)
}

fn kind(fd: BorrowedFd<'_>, target: &str) -> Option<Kind> {
    // Whatever it is a path to; a call that asks for more than that fails.
    if fcntl_getfl(fd).ok()?.contains(OFlags::PATH) {
        return Some(Kind::File);
    }
    if target.starts_with("socket:[") {
        return of_socket(fd).ok();
    }
    if let Some(name) = target.strip_prefix("anon_inode:") {
        return Some(match name {
            "[eventpoll]" => Kind::Epoll,
            "[eventfd]" => Kind::Eventfd,
            "[timerfd]" => Kind::Timerfd,
            "[perf_event]" => Kind::Perf,
            "bpf-map" | "bpf-prog" | "bpf-link" | "bpf_link" | "btf" => Kind::Bpf,
            _ => Kind::Other,
        });
    }
    let is_pipe = fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    Some(if is_pipe {
        Kind::Pipe
    } else if target.starts_with('/') {
        Kind::File
    } else {
        Kind::Other
    })
}

fn of_socket(fd: BorrowedFd<'_>) -> rustix::io::Result<Kind> {
    Ok(match (sockopt::socket_domain(fd)?, sockopt::socket_type(fd)?) {
        (AddressFamily::UNIX, _) => Kind::Unix,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::STREAM) => Kind::Tcp,
        (AddressFamily::INET | AddressFamily::INET6, SocketType::DGRAM) => Kind::Udp,
        _ => Kind::Other,
    })
}
