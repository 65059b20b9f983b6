//! What the ledger costs: `cargo bench -p log-capturer --bench ledger`. Figures for one machine; the ratios carry over.

use std::{
    fs,
    os::unix::net::{UnixListener, UnixStream},
    time::{Duration, Instant},
};

use log_capturer::kernel::{Kernel, Options};

fn main() {
    let path = std::env::temp_dir().join(format!("ledger-bench-{}.sock", std::process::id()));
    let server = UnixListener::bind(&path).expect("bind");
    let pair = || {
        drop(UnixStream::connect(&path).expect("connect"));
        drop(server.accept());
    };
    let without = median(|| per_turn(20_000, pair));
    let unrelated_without = median(|| per_turn(200_000, unrelated));

    let before = resident();
    let begin = Instant::now();
    let kernel = match Kernel::attach(&Options::default()) {
        Ok(kernel) => kernel,
        Err(refusal) => return println!("not run: {refusal}"),
    };
    println!("attach                       {:>9.1?}", begin.elapsed());
    println!(
        "resident memory added        {:>9} KiB (peak {} KiB)",
        resident() - before,
        peak() - before
    );
    let with = median(|| per_turn(20_000, pair));
    println!("connect+accept+close+close   {with:>9.1?} with, {without:.1?} without");
    println!(
        "getppid                      {:>9.1?} with, {unrelated_without:.1?} without",
        median(|| per_turn(200_000, unrelated))
    );

    // A listener's queue has room for 128.
    let held: Vec<_> = (0..1000)
        .map(|_| (UnixStream::connect(&path).expect("connect"), server.accept()))
        .collect();
    println!(
        "snapshot of {}             {:>9.1?}",
        held.len(),
        median(|| per_turn(20, || drop(kernel.snapshot().expect("snapshot"))))
    );
    drop(held);
    let begin = Instant::now();
    drop(kernel);
    println!("detach                       {:>9.1?}", begin.elapsed());
    fs::remove_file(&path).expect("remove");
}

fn unrelated() {
    let _ = rustix::process::getppid();
}

fn per_turn(turns: u32, mut work: impl FnMut()) -> Duration {
    let begin = Instant::now();
    for _ in 0..turns {
        work();
    }
    begin.elapsed() / turns
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut rounds: Vec<_> = (0..5).map(|_| measure()).collect();
    rounds.sort_unstable();
    rounds[2]
}

fn resident() -> u64 {
    status("VmRSS:")
}

fn peak() -> u64 {
    status("VmHWM:")
}

/// In KiB.
fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .expect("a field of it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
