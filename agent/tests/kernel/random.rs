//! Random sequences of descriptor and socket operations, by several threads and with children: at every quiet point the ledger
//! agrees with its witnesses. `LEDGER_SEED` repeats a run as far as the threads' timing lets it.

use std::{
    env,
    fs::File,
    io::Write as _,
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use rustix::{
    event::{EventfdFlags, epoll, eventfd},
    fs::{MemfdFlags, inotify, memfd_create},
    io::{DupFlags, dup, dup2, dup3, fcntl_dupfd_cloexec},
    net::{AddressFamily, Shutdown, SocketFlags, SocketType, shutdown, socketpair, sockopt},
    pipe::{PipeFlags, pipe_with},
    process::{PidfdFlags, getpid, pidfd_open},
    time::{TimerfdClockId, TimerfdFlags, timerfd_create},
};

use super::{
    Fixture,
    fds::{receive, send},
    fixture,
};

const THREADS: u64 = 4;
const QUIET_POINTS: u64 = 6;
/// Operations of each thread before each quiet point: 12,000 in all.
const OPERATIONS: usize = 500;
/// More than this are closed again.
const KEPT: usize = 60;
/// Numbers that only one thread uses, and ends all at once.
const WINDOW: i32 = 3000;
const WINDOW_LEN: i32 = 100;

/// Descriptors that one thread leaves for another to close.
type Shared = Mutex<Vec<OwnedFd>>;

#[test]
fn random_operations_leave_no_difference() {
    let Some(fixture) = fixture() else { return };
    let seed = env::var("LEDGER_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"));
    writeln!(std::io::stderr(), "LEDGER_SEED={seed}").unwrap();
    fixture.server.set_nonblocking(true).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let shared = Shared::default();
    let done = AtomicUsize::new(0);
    let mut workers: Vec<_> = (0..THREADS)
        .map(|number| Worker {
            random: fastrand::Rng::with_seed(seed.wrapping_add(number)),
            window: WINDOW + WINDOW_LEN * number as i32,
            fds: Vec::new(),
            fixture: &fixture,
            tcp: &tcp,
            shared: &shared,
        })
        .collect();
    for _ in 0..QUIET_POINTS {
        thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(|| {
                    for _ in 0..OPERATIONS {
                        worker.operate();
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        fixture.fds();
        fixture.checked();
    }
    drop(workers);
    shared.lock().unwrap().clear();
    fixture.fds();
    assert!(done.into_inner() >= 10_000);
    assert!(fixture.checked().connections.is_empty());
}

struct Worker<'a> {
    random: fastrand::Rng,
    window: i32,
    fds: Vec<OwnedFd>,
    fixture: &'a Fixture,
    tcp: &'a TcpListener,
    shared: &'a Shared,
}

impl Worker<'_> {
    fn operate(&mut self) {
        match self.random.u32(..36) {
            0..=5 => self.open(),
            6..=8 => self.keep([self.fixture.connect().into()]),
            9 => {
                if let Ok((accepted, _)) = self.fixture.server.accept() {
                    self.keep([accepted.into()]);
                }
            }
            10..=12 => self.with(|fd, _| dup(fd).ok()),
            27 => self.keep([TcpStream::connect(self.tcp.local_addr().unwrap()).unwrap().into()]),
            // Twice as often, or the listener's queue would be full one day, and a connect wait for it.
            28..=29 => {
                if let Ok((accepted, _)) = self.tcp.accept() {
                    self.keep([accepted.into()]);
                }
            }
            13 => self.replace(),
            14..=15 => self.with(|fd, _| fcntl_dupfd_cloexec(fd, 100).ok()),
            16..=18 => {
                let given = self.take();
                self.shared.lock().unwrap().extend(given);
            }
            19..=21 => {
                let mut shared = self.shared.lock().unwrap();
                if !shared.is_empty() {
                    let index = self.random.usize(..shared.len());
                    let taken = shared.swap_remove(index);
                    drop(shared);
                    if self.random.bool() {
                        self.keep([taken]);
                    }
                }
            }
            22 => self.with(|fd, random| {
                let how = [Shutdown::Read, Shutdown::Write, Shutdown::Both][random.usize(..3)];
                // Most are no connections. TCP's, once both ends are through, are in no witness's list any more.
                if sockopt::socket_domain(fd) == Ok(AddressFamily::UNIX) {
                    let _ = shutdown(fd, how);
                }
                None
            }),
            23 => self.pass_through_a_socket(),
            24 => self.fill_the_window_and_close_it(),
            25 => self.fail(),
            26 if self.random.u32(..20) == 0 => {
                assert!(Command::new("true").status().unwrap().success());
            }
            _ => drop(self.take()),
        }
        while self.fds.len() > KEPT {
            drop(self.take());
        }
    }

    fn keep(&mut self, fds: impl IntoIterator<Item = OwnedFd>) {
        self.fds.extend(fds);
    }

    fn take(&mut self) -> Option<OwnedFd> {
        (!self.fds.is_empty()).then(|| {
            let index = self.random.usize(..self.fds.len());
            self.fds.swap_remove(index)
        })
    }

    /// Does something with one of ours, and keeps what comes of it.
    fn with(&mut self, work: impl FnOnce(&OwnedFd, &mut fastrand::Rng) -> Option<OwnedFd>) {
        if let Some(fd) = self.take() {
            let made = work(&fd, &mut self.random);
            self.keep(made);
            self.keep([fd]);
        }
    }

    fn open(&mut self) {
        match self.random.u32(..12) {
            0 => {
                let flags = SocketFlags::CLOEXEC;
                // No stream: `ss` cannot tell a pair's ends from a client's.
                let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
                self.keep([pair.0, pair.1]);
            }
            1 => {
                let pipe = pipe_with(PipeFlags::CLOEXEC).unwrap();
                self.keep([pipe.0, pipe.1]);
            }
            2 => self.keep([eventfd(0, EventfdFlags::CLOEXEC).unwrap()]),
            3 => self.keep([epoll::create(epoll::CreateFlags::CLOEXEC).unwrap()]),
            4 => self.keep([timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).unwrap()]),
            5 => self.keep([memfd_create("random", MemfdFlags::CLOEXEC).unwrap()]),
            6 => self.keep([pidfd_open(getpid(), PidfdFlags::empty()).unwrap()]),
            7 => self.keep([inotify::init(inotify::CreateFlags::CLOEXEC).unwrap()]),
            8 => self.keep([UdpSocket::bind("127.0.0.1:0").unwrap().into()]),
            9 => self.keep([TcpListener::bind("127.0.0.1:0").unwrap().into()]),
            _ => self.keep([File::open("/dev/null").unwrap().into()]),
        }
    }

    fn replace(&mut self) {
        let (Some(from), Some(mut over)) = (self.take(), self.take()) else {
            return;
        };
        if self.random.bool() {
            dup2(&from, &mut over).unwrap();
        } else {
            dup3(&from, &mut over, DupFlags::CLOEXEC).unwrap();
        }
        self.keep([from, over]);
    }

    /// `SCM_RIGHTS`; the sender's may be closed while it is under way.
    fn pass_through_a_socket(&mut self) {
        let flags = SocketFlags::CLOEXEC;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let Some(fd) = self.take() else { return };
        send(&pair.0, &fd);
        let at_once = self.random.bool();
        if at_once {
            drop(fd);
        } else {
            self.keep([fd]);
        }
        if self.random.bool() {
            self.keep([receive(&pair.1)]);
        }
    }

    fn fill_the_window_and_close_it(&mut self) {
        let from = self.window;
        for _ in 0..self.random.i32(1..10) {
            if let Some(fd) = self.take() {
                let offset = self.random.i32(0..WINDOW_LEN);
                // SAFETY: the window is this thread's; what is in it belongs to nobody after `forget`.
                let mut target = std::mem::ManuallyDrop::new(unsafe {
                    <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(from + offset)
                });
                dup2(&fd, &mut target).unwrap();
                self.keep([fd]);
            }
        }
        // SAFETY: as above.
        unsafe { assert_eq!(libc::close_range(from as u32, (from + WINDOW_LEN - 1) as u32, 0), 0) };
    }

    fn fail(&mut self) {
        UnixStream::connect("/nonexistent").unwrap_err();
        File::open("/nonexistent").unwrap_err();
        // SAFETY: no number is as high, which is the point.
        unsafe {
            assert_eq!(libc::close(900_000), -1);
            dup(BorrowedFd::borrow_raw(900_001)).unwrap_err();
        }
        self.with(|fd, _| {
            // SAFETY: as above.
            assert_eq!(unsafe { libc::dup2(900_002, fd.as_raw_fd()) }, -1);
            None
        });
    }
}
