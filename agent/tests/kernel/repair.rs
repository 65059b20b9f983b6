//! An event that is lost: seen by the witnesses, spelled out, and put right from the process's table.
//!
//! The calls of 32-bit programs go by other entries than those that are watched: tracepoints of system calls leave them out
//! (`arch_trace_is_compat_syscall`), and `__x64_sys_close` is not called. A 64-bit program may make them, too.
#![cfg(target_arch = "x86_64")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};

use log_capturer::kernel::{Cause, Drift, Kind, Witness};
use rustix::{
    event::{EventfdFlags, eventfd},
    io::fcntl_dupfd_cloexec,
};

use super::{Fixture, fixture, inode};

/// So high that no other file gets the number: that would repair the entry, too.
const HIGH: RawFd = 900;

/// By the numbers of 32-bit programs.
fn call_unseen(call: i64, fd: RawFd) -> i64 {
    let mut result = call;
    // SAFETY: a call that takes a descriptor and nothing else. The kernel saves what the 32-bit entry has no room for, but for
    // r8 to r11 on some versions; rbx is LLVM's own.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {fd}",
            "int 0x80",
            "xchg rbx, {fd}",
            fd = inout(reg) i64::from(fd) => _,
            inout("rax") result,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    result
}

fn close_unseen(fd: RawFd) {
    const CLOSE: i64 = 6;
    assert_eq!(call_unseen(CLOSE, fd), 0, "close by int 0x80");
}

/// By tier fentry the new descriptor is seen, in `fd_install`; not whose duplicate it is.
fn duplicate_unseen(fd: RawFd) -> OwnedFd {
    const DUP: i64 = 41;
    let duplicate = call_unseen(DUP, fd) as RawFd;
    assert!(duplicate >= 0, "dup by int 0x80");
    // SAFETY: a new descriptor, that nobody else has.
    unsafe { OwnedFd::from_raw_fd(duplicate) }
}

impl Fixture {
    fn drift(&self) -> Vec<Drift> {
        self.kernel.drift().expect("drift").expect("a quiet moment")
    }

    fn repaired(&self, kind: Kind) -> u64 {
        let fds = self.kernel.snapshot().expect("snapshot").fds;
        let totals = fds.iter().find(|totals| totals.kind == kind);
        totals.expect("every kind").repaired
    }

    /// How often something was put right for this reason.
    pub fn repairs(&self, cause: Cause) -> u64 {
        let repairs = self.kernel.snapshot().expect("snapshot").repairs;
        let count = repairs.iter().find(|(of, _)| *of == cause);
        count.expect("every cause").1
    }

    /// One descriptor of `kind` was closed, and the ledger does not know it.
    fn assert_repaired(&self, kind: Kind) {
        let expected = Witness::ALL.map(|witness| Drift {
            witness,
            kind,
            difference: 1,
        });
        for _ in 0..2 {
            let seen = self.kernel.compare().expect("compare").expect("a quiet moment");
            assert_eq!(seen.drifts, expected, "who compares repairs nothing");
        }
        assert_eq!(self.repaired(kind), 1);
        assert_eq!(self.repairs(Cause::Close), 1);
        assert_eq!(self.drift(), []);
    }
}

#[test]
fn a_lost_close_is_spelled_out_and_repaired_by_the_next_walk() {
    let Some(fixture) = fixture() else { return };
    let event = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let unseen = fcntl_dupfd_cloexec(&event, HIGH).unwrap().into_raw_fd();
    assert_eq!(fixture.drift(), []);
    let before = fixture.kernel.snapshot().unwrap().fds;
    close_unseen(unseen);
    fixture.assert_repaired(Kind::Eventfd);
    let after = fixture.kernel.snapshot().unwrap().fds;
    let closed = |fds: &[log_capturer::kernel::KindTotals]| {
        let totals = fds.iter().find(|totals| totals.kind == Kind::Eventfd);
        totals.map(|totals| (totals.closed, totals.open)).unwrap()
    };
    let (was_closed, was_open) = closed(&before);
    assert_eq!(closed(&after), (was_closed + 1, was_open - 1));
}

/// A rotation asks so: the answer is the table's, though the ledger has it wrong both times.
#[test]
fn whether_a_connection_is_held_is_told_by_the_table() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    let number = inode(&client);
    let unseen = fcntl_dupfd_cloexec(&client, HIGH).unwrap();
    drop(client);
    assert!(fixture.kernel.holds(number).unwrap());
    close_unseen(unseen.into_raw_fd());
    assert!(!fixture.kernel.holds(number).unwrap(), "its close was not seen");

    let (client, _server) = fixture.pair();
    let number = inode(&client);
    let unseen = duplicate_unseen(client.as_raw_fd());
    drop(client);
    assert!(fixture.kernel.holds(number).unwrap(), "its duplicate was not seen");
    drop(unseen);
    assert!(!fixture.kernel.holds(number).unwrap());
    fixture.checked();
}

#[test]
fn a_connection_of_which_the_close_was_lost_is_closed_by_the_repair() {
    let Some(fixture) = fixture() else { return };
    let (client, _server) = fixture.pair();
    let unseen = fcntl_dupfd_cloexec(&client, HIGH).unwrap();
    drop(client);
    assert_eq!(fixture.checked().connections[0].fd, unseen.as_raw_fd());
    close_unseen(unseen.into_raw_fd());
    fixture.assert_repaired(Kind::Unix);
    assert!(fixture.checked().connections.is_empty());
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (1, 1));
}
