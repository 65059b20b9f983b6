//! The agent is killed and stopped at random moments, streams end anywhere, and the file still has every line once.

use std::collections::HashMap;
use std::path::Path;
use std::task::{self, Poll, Waker};

use super::super::follower::Follower;
use super::super::resume::Position;
use super::super::tests::{policy, services};
use super::super::{ContainerState, Gone, Policies, Positions};
use super::*;
use crate::delivery::{Batch, Intake, Order};
use crate::encode::Decoded;
use crate::record::Stream;

/// Where an engine would be that is never asked.
fn nowhere() -> &'static Path {
    Path::new("/nonexistent")
}

/// xorshift
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

fn container() -> Arc<Container> {
    Arc::new(Container {
        id: ContainerId::new("abc"),
        name: "name".into(),
        image: "image".into(),
        labels: Default::default(),
    })
}

type Entry = (i64, Stream, String);

fn line(entry: &Entry) -> Line<'_> {
    Line {
        time: Time(entry.0),
        stream: entry.1,
        bytes: entry.2.as_bytes(),
        truncated: false,
        escaped: None,
    }
}

fn random_log(random: &mut Random) -> Vec<Entry> {
    let mut time = 1_000_000_000_000;
    let length = 20 + random.below(4_000);
    let entry = |number| {
        time += random.below(3_000_000) as i64;
        let back = random.below(100_000) as i64;
        let stream = Stream::ALL[usize::from(random.below(3) == 0)];
        let start = if random.below(4) == 0 { "start" } else { " goes on" };
        (time - back, stream, format!("{start} {number}"))
    };
    (0..length).map(entry).collect()
}

fn sent(log: &[Entry], since: Since) -> Vec<Entry> {
    match since {
        Since::Beginning => log.to_vec(),
        Since::Time(since) => log.iter().filter(|entry| entry.0 >= since.0).cloned().collect(),
        Since::Tail { records, .. } => log[log.len().saturating_sub(records as usize)..].to_vec(),
    }
}

/// The next batch, if there is one.
fn waiting(intake: &mut Intake) -> Option<Arc<Batch>> {
    let mut next = pin!(intake.next());
    match next.as_mut().poll(&mut task::Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Order::Batch(batch))) => Some(batch),
        _ => None,
    }
}

/// What outlives the process.
#[derive(Default)]
struct Disk {
    /// What was copied away before the file was truncated.
    copies: Vec<Vec<u8>>,
    file: Vec<Vec<u8>>,
    /// The file is truncated now and then.
    truncates: bool,
    /// It was since the checkpoint.
    truncated: bool,
    positions: HashMap<ContainerId, Arc<Position>>,
    /// The length of the file at the checkpoint.
    length: usize,
}

impl Disk {
    fn take(&mut self, intake: &mut Intake) {
        while let Some(batch) = waiting(intake) {
            self.file.push(batch.records().text().to_vec());
            intake.acknowledge(batch);
        }
    }

    fn checkpoint(&mut self, intake: &mut Intake, positions: &Positions) {
        self.take(intake);
        self.positions = positions.take().0;
        self.length = self.file.len();
        self.truncated = false;
    }

    fn truncate(&mut self) {
        self.copies.append(&mut self.file);
        self.length = 0;
        self.truncated = true;
    }

    /// A container that has written nothing since the file was truncated has nothing in it that would tell of the lines
    /// before.
    fn tells_nothing(&self) -> bool {
        self.truncated && self.file.is_empty()
    }

    /// The positions that a process starts with.
    fn recover(&self) -> Positions {
        let positions = Positions::new(self.positions.clone(), Gone::default());
        for record in &self.file[self.length..] {
            positions.recovered(&Decoded::from_json(record).unwrap(), self.truncated);
        }
        positions
    }

    fn lines(&self, stream: Stream) -> Vec<String> {
        let records = self
            .copies
            .iter()
            .chain(&self.file)
            .map(|record| Decoded::from_json(record).unwrap());
        let records = records.filter(|record| record.stream == stream);
        records
            .flat_map(|record| {
                let text = String::from_utf8(record.bytes).unwrap();
                let lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
                assert!(record.lines.is_none_or(|count| count as usize == lines.len()));
                lines
            })
            .collect()
    }
}

/// A process from its start to its end; tells whether it was at the end of the log, once all of it was written.
fn process(random: &mut Random, policies: &[Policy], log: &[Entry], written: &mut usize, disk: &mut Disk) -> bool {
    let positions = disk.recover();
    let (services, mut intake) = services(nowhere(), 1, positions.clone());
    let services = Arc::new(services);
    disk.checkpoint(&mut intake, &positions);
    let mut captured = Captured::new(&services, &policies[random.below(policies.len())], &container());
    let mut at_end = false;
    for _ in 0..1 + random.below(4) {
        *written = (*written + random.below(800)).min(log.len());
        let since = captured.since(Until::Death);
        let sent = sent(&log[..*written], since);
        captured.begin(since, Until::Death);
        let taken = sent.len().min(random.below(6_000));
        for part in sent[..taken].chunks(1 + random.below(50)) {
            let new = part
                .iter()
                .filter(|entry| captured.take(&line(entry)) == Taken::New)
                .count();
            if captured.falls_short() {
                captured.ask_for_more();
                captured.rest();
                break;
            }
            if new > 0 {
                captured.ask_for_the_end();
            }
            captured.publish();
            match random.below(10) {
                0 => disk.checkpoint(&mut intake, &positions),
                1 => {
                    captured.flush();
                    captured.publish();
                }
                // Another policy is put in force, and perhaps the same one.
                3 => captured.obey(&policies[random.below(policies.len())], &container()),
                2 if disk.truncates => {
                    disk.take(&mut intake);
                    disk.truncate();
                }
                _ => disk.take(&mut intake),
            }
        }
        at_end = *written == log.len() && taken == sent.len() && !captured.falls_short();
    }
    assert!(!captured.series().has_gap(), "a gap where there is none");
    if at_end || random.below(2) == 0 || disk.tells_nothing() {
        drop(captured);
        disk.checkpoint(&mut intake, &positions);
    } else {
        // Killed: what it held in memory is gone.
        std::mem::forget(captured);
        disk.take(&mut intake);
    }
    at_end
}

fn assert_every_line_once(options: &[&str], truncates: bool) {
    let policies: Vec<_> = options.iter().map(|options| policy(options)).collect();
    for seed in 1..40_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let log = random_log(&mut random);
        let (mut disk, mut written) = (Disk::default(), 0);
        disk.truncates = truncates;
        let mut processes = 0;
        while !process(&mut random, &policies, &log, &mut written, &mut disk) {
            processes += 1;
            assert!(processes < 1_000, "seed {seed}: no end");
        }
        if !truncates {
            let tally = &disk.positions[&container().id].tally;
            assert_eq!((tally.taken, tally.held), (log.len() as u64, 0), "seed {seed}");
        }
        for stream in Stream::ALL {
            let written = log.iter().filter(|entry| entry.1 == stream);
            let written: Vec<_> = written.map(|entry| entry.2.clone()).collect();
            let got = disk.lines(stream);
            let differs = got.iter().zip(&written).position(|(got, written)| got != written);
            assert!(
                got == written,
                "seed {seed}, {stream:?}: {} of {} lines, other from {differs:?} on",
                got.len(),
                written.len()
            );
        }
    }
}

#[test]
fn lines_by_themselves() {
    assert_every_line_once(&["{}"], false);
}

#[test]
fn lines_in_a_file_that_is_truncated() {
    assert_every_line_once(&["{}"], true);
}

#[test]
fn records_of_several_lines() {
    assert_every_line_once(&["multiline: {rules: [{start: '^start'}]}"], false);
}

#[test]
fn records_that_only_their_limits_end() {
    assert_every_line_once(&["multiline: {rules: [{start: '^never'}], max_lines: 40}"], false);
}

#[test]
fn policies_that_are_replaced_while_lines_come() {
    let policies = [
        "{}",
        "multiline: {rules: [{start: '^start'}]}",
        "multiline: {rules: [{start: '^never'}], max_lines: 40}",
    ];
    assert_every_line_once(&policies, false);
}

/// There may be ten thousand of them, of which fifty are read.
#[test]
fn a_container_that_is_not_read_takes_little_memory() {
    let (services, _intake) = services(nowhere(), 1, Positions::default());
    let life = ContainerState {
        container: container(),
        described: true,
        starts: 1,
        running: true,
        removed: false,
        destroyed: false,
    };
    let mut follower = Box::new(Follower::new(
        Arc::new(services),
        Policies::new(policy("{}")).follow(),
        tokio::sync::watch::channel(life).1,
    ));
    let size = size_of_val(&follower.read());
    assert!(size <= 5 * 1024, "{size} bytes more for each that is read");
    let size = size_of_val(&*follower) + size_of_val(&follower.run());
    assert!(size <= 4 * 1024, "{size} bytes for each container");
}
