//! What the ledger costs: `cargo xtask bench ledger`.
//!
//! Each round measures without the kernel half and then with it, so that whatever else the machine does falls on both.
//! What is called *other* happens in a process that the ledger has nothing to do with: it pays all the same, as a
//! tracepoint is one for the whole host.

#![expect(
    unreachable_pub,
    reason = "a binary has no outside: `pub` tells what other files use"
)]

mod company;
mod figures;
mod memory;
mod rounds;
mod workload;

use std::{
    os::unix::net::{UnixListener, UnixStream},
    time::Duration,
};

use log_capturer::{
    kernel::{Kernel, Metrics, Options, Tier},
    metrics::registry,
};
use prometheus::TextEncoder;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    system::uname,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

use self::{
    figures::{Goal, Spread, Table, per_call},
    memory::Memory,
    rounds::{Case, Effort, Round},
    workload::Workload,
};

/// For the scrape: both ends are this process's.
const CONNECTIONS: usize = 1000;
const DESCRIPTORS: u64 = 4096;

fn main() {
    if std::env::args().any(|argument| argument == workload::WORKER) {
        return workload::serve();
    }
    let short = std::env::args().any(|argument| argument == "--short");
    let effort = if short { Effort::SHORT } else { Effort::LONG };
    stay_on_one_processor();
    let limit = getrlimit(Resource::Nofile);
    let current = Some(DESCRIPTORS.min(limit.maximum.unwrap_or(DESCRIPTORS)));
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).expect("up to the hard limit");

    // The first attach of a process is the one whose memory counts: later ones find pages that it left.
    let before = Memory::now();
    let kernel = match Kernel::attach(&Options::default()) {
        Ok(kernel) => kernel,
        Err(refusal) => return println!("not run: {refusal}"),
    };
    let after = Memory::now();
    let tier = kernel.tier();
    drop(kernel);

    println!(
        "Linux {}, tier `{}`",
        uname().release().to_string_lossy(),
        tier.as_str()
    );
    let mut table = Table::default();
    calls(&mut table, effort, tier);
    scrape(&mut table, effort);
    table.print();
    println!();
    after.print(&before);
}

/// What it adds to system calls, and what attaching takes.
fn calls(table: &mut Table, effort: Effort, tier: Tier) {
    let unrelated = match tier {
        Tier::Fentry => Goal::Nothing,
        _ => Goal::AtMost(Duration::from_nanos(10)),
    };
    let ours = Goal::AtMost(Duration::from_micros(1));
    let cases = [
        Case::other("other: getppid", Workload::Getppid, unrelated),
        Case::other("other: read of /dev/null", Workload::Read, unrelated),
        Case::other("other: connect and close", Workload::Connect, Goal::None),
        Case::other("other: dup and close", Workload::Dup, Goal::None),
        Case::own("own: connect and close", Workload::Connect, ours),
        Case::own("own: dup and close", Workload::Dup, Goal::None),
    ];
    let (rounds, alone) = rounds::run(&cases, effort);
    for (index, case) in cases.iter().enumerate() {
        let of = |taken: fn(&Round) -> &Vec<f64>| Spread::of(rounds.iter().map(|round| taken(round)[index]));
        let added = Spread::of(rounds.iter().map(|round| round.with[index] - round.without[index]));
        let goal = if alone || !case.elsewhere {
            case.goal
        } else {
            case.goal.unjudged()
        };
        table.compared(
            case.name,
            of(|round| &round.without),
            of(|round| &round.with),
            added,
            goal,
        );
    }
    table.alone(
        "attach",
        Spread::of(rounds.iter().map(|round| round.attach)),
        Goal::None,
    );
    table.alone(
        "detach",
        Spread::of(rounds.iter().map(|round| round.detach)),
        Goal::None,
    );
}

/// What `/metrics` takes of the kernel half's part with many live connections.
fn scrape(table: &mut Table, effort: Effort) {
    let server = UnixListener::bind_addr(&workload::address("scrape")).expect("bind");
    let kernel = Kernel::attach(&Options::default()).expect("as the first time");
    let registry = registry().expect("a registry");
    let metrics = Metrics::new(&registry).expect("metrics");
    let address = server.local_addr().expect("bound");
    let held: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            (
                UnixStream::connect_addr(&address).expect("connect"),
                server.accept().expect("accept"),
            )
        })
        .collect();
    let scrapes = (0..effort.rounds * 5).map(|_| {
        per_call(1, || {
            let snapshot = kernel.snapshot().expect("snapshot");
            assert_eq!(snapshot.connections.len(), held.len());
            metrics.show(&snapshot);
            TextEncoder::new().encode_to_string(&registry.gather()).expect("text");
        })
    });
    table.alone(
        &format!("scrape with {CONNECTIONS} connections"),
        Spread::of(scrapes),
        Goal::AtMost(Duration::from_millis(2)),
    );
}

/// The child's too, which inherits it: what is compared ran at the same place.
fn stay_on_one_processor() {
    let allowed = sched_getaffinity(None).expect("our own");
    let last = (0..CpuSet::MAX_CPU).rfind(|&processor| allowed.is_set(processor));
    let mut one = CpuSet::new();
    one.set(last.expect("we run on one"));
    sched_setaffinity(None, &one).expect("one of those allowed");
}
