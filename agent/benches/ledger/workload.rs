//! What is measured, and a process to do it in that is not the agent.

use std::{
    fs::File,
    io::{BufRead, BufReader, Lines, Read as _, Write as _},
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::figures::{Spread, per_call};

pub const WORKER: &str = "--worker";

#[derive(Clone, Copy)]
pub enum Workload {
    /// The shortest system call there is, and one that no program is attached to.
    Getppid,
    /// Another one, of the kind that a host makes most.
    Read,
    Connect,
    Dup,
}

const ALL: [(Workload, &str); 4] = [
    (Workload::Getppid, "getppid"),
    (Workload::Read, "read"),
    (Workload::Connect, "connect"),
    (Workload::Dup, "dup"),
];

impl Workload {
    fn name(self) -> &'static str {
        ALL[self as usize].1
    }

    /// The median of so many batches, per call.
    pub fn measure(self, batches: usize) -> f64 {
        match self {
            Self::Getppid => median(batches, || {
                per_call(2000, || {
                    let _ = rustix::process::getppid();
                })
            }),
            Self::Read => {
                let mut null = File::open("/dev/null").expect("/dev/null");
                median(batches, || {
                    per_call(2000, || {
                        let _ = null.read(&mut [0]).expect("read");
                    })
                })
            }
            Self::Connect => {
                let server = UnixListener::bind_addr(&address("connect")).expect("bind");
                let address = server.local_addr().expect("bound");
                // Accepted outside of the time: that is the peer's work.
                const BATCH: u32 = 50;
                median(batches, || {
                    let time = per_call(BATCH, || drop(UnixStream::connect_addr(&address).expect("connect")));
                    (0..BATCH).for_each(|_| drop(server.accept()));
                    time
                })
            }
            Self::Dup => {
                let server = UnixListener::bind_addr(&address("dup")).expect("bind");
                let address = server.local_addr().expect("bound");
                let stream = UnixStream::connect_addr(&address).expect("connect");
                median(batches, || per_call(200, || drop(stream.try_clone().expect("dup"))))
            }
        }
    }
}

fn median(batches: usize, measure: impl FnMut() -> f64) -> f64 {
    Spread::of(std::iter::repeat_with(measure).take(batches)).median()
}

/// A name that needs no file.
pub fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("ledger-{name}-{}", std::process::id())).expect("short enough")
}

/// Another process, which does what it is told on its standard input.
pub struct Other {
    process: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().expect("our own"))
            .arg(WORKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("ourselves again");
        Self {
            orders: process.stdin.take(),
            answers: BufReader::new(process.stdout.take().expect("piped")).lines(),
            process,
        }
    }

    pub fn measure(&mut self, workload: Workload, batches: usize) -> f64 {
        let orders = self.orders.as_mut().expect("piped");
        writeln!(orders, "{} {batches}", workload.name()).expect("it reads");
        let answer = self.answers.next().expect("an answer").expect("it lives");
        answer.parse().expect("nanoseconds")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.process.wait();
    }
}

/// The other process's side, until its standard input ends.
pub fn serve() {
    for order in std::io::stdin().lines() {
        let order = order.expect("text");
        let (name, batches) = order.split_once(' ').expect("a name and a number");
        let (workload, _) = ALL.iter().find(|(_, known)| *known == name).expect("a known name");
        println!("{}", workload.measure(batches.parse().expect("a number")));
    }
}
