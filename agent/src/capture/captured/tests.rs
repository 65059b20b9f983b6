//! The agent is killed and stopped at random moments, streams end anywhere, and the file still has every line once.

use std::collections::HashMap;
use std::task::{self, Poll, Waker};
use std::time::Duration;

use super::super::follower::Follower;
use super::super::resume::Position;
use super::super::{
    ContainerState, Intervals, Metrics, Options, Positions, Probes, Rotation, Selection, SlotLimits, Slots,
};
use super::*;
use crate::config;
use crate::delivery::{Batch, Bounds, Intake, Order, Outbox};
use crate::encode::{Decoded, Fields};
use crate::engine::{self, Endpoint, Engine, Limits, Opener};
use crate::pace::Pace;
use crate::record::Stream;
use crate::register::Register;
use crate::source::Source;

const SECOND: Duration = Duration::from_secs(1);

/// What followers work with, on an engine that is never asked, and a sink that takes each record at once.
fn context(options: &str, positions: Positions) -> (Arc<Context>, Intake) {
    let registry = crate::metrics::registry().unwrap();
    let delivery = crate::delivery::Metrics::new(&registry).unwrap();
    let metrics = Arc::new(Metrics::new(&registry, &delivery).unwrap());
    let register = Register::new(None);
    let opener = Opener {
        endpoint: Endpoint::unix(std::path::Path::new("/nonexistent")).into(),
        register: register.clone(),
        limits: Limits {
            connect: SECOND,
            head: SECOND,
            body: SECOND,
        },
        metrics: Arc::new(engine::Metrics::new(&registry).unwrap()),
    };
    let asked = engine::Options::from(&config::Docker::default());
    let engine = Engine::new(opener, asked);
    let bounds = Bounds {
        batch_bytes: 1,
        max_batches: 100_000,
        flush_interval: SECOND,
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["file".to_owned()]);
    let context = Context {
        source: Source::new(engine.clone(), None, true, 1 << 20),
        start: None,
        engine,
        register,
        outbox,
        positions,
        unseen_since: Time(0),
        selection: Selection::default(),
        options: Options::try_from(&serde_saphyr::from_str::<config::Capture>(options).unwrap()).unwrap(),
        slots: Slots::new(SlotLimits { streams: 1, spare: 1 }, Arc::clone(&metrics)),
        pace: Arc::new(Pace::new(Duration::ZERO)),
        metrics,
        is_released: Box::new(|_| None),
        host: "host".into(),
        fields: Fields::new(&[], &[]).unwrap(),
        rotation: Rotation {
            interval: SECOND,
            idle_interval: SECOND,
        },
        probes: Probes::new(Intervals {
            probe_after: SECOND,
            max_interval: SECOND,
        }),
        retry: asked.retry,
    };
    (Arc::new(context), intakes.remove(0))
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
    file: Vec<Vec<u8>>,
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
        self.positions = positions.take();
        self.length = self.file.len();
    }

    /// The positions that a process starts with.
    fn recover(&self) -> Positions {
        let positions = Positions::new(self.positions.clone());
        for record in &self.file[self.length..] {
            positions.recovered(&Decoded::from_json(record).unwrap());
        }
        positions
    }

    fn lines(&self, stream: Stream) -> Vec<String> {
        let records = self.file.iter().map(|record| Decoded::from_json(record).unwrap());
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
fn process(random: &mut Random, options: &str, log: &[Entry], written: &mut usize, disk: &mut Disk) -> bool {
    let positions = disk.recover();
    let (context, mut intake) = context(options, positions.clone());
    disk.checkpoint(&mut intake, &positions);
    let mut captured = Captured::new(&context, &container());
    let mut at_end = false;
    for _ in 0..1 + random.below(4) {
        *written = (*written + random.below(800)).min(log.len());
        let since = captured.since();
        let sent = sent(&log[..*written], since);
        captured.begin(since);
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
                _ => disk.take(&mut intake),
            }
        }
        at_end = *written == log.len() && taken == sent.len() && !captured.falls_short();
    }
    assert!(!captured.series().has_gap(), "a gap where there is none");
    if at_end || random.below(2) == 0 {
        drop(captured);
        disk.checkpoint(&mut intake, &positions);
    } else {
        // Killed: what it held in memory is gone.
        std::mem::forget(captured);
        disk.take(&mut intake);
    }
    at_end
}

fn assert_every_line_once(options: &str) {
    for seed in 1..40_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let log = random_log(&mut random);
        let (mut disk, mut written) = (Disk::default(), 0);
        let mut processes = 0;
        while !process(&mut random, options, &log, &mut written, &mut disk) {
            processes += 1;
            assert!(processes < 1_000, "seed {seed}: no end");
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
    assert_every_line_once("{}");
}

#[test]
fn records_of_several_lines() {
    assert_every_line_once("multiline: {rules: [{start: '^start'}]}");
}

#[test]
fn records_that_only_their_limits_end() {
    assert_every_line_once("multiline: {rules: [{start: '^never'}], max_lines: 40}");
}

/// There may be ten thousand of them, of which fifty are read.
#[test]
fn a_container_that_is_not_read_takes_little_memory() {
    let (context, _intake) = context("{}", Positions::default());
    let life = ContainerState {
        container: container(),
        starts: 1,
        running: true,
        removed: false,
        destroyed: false,
    };
    let mut follower = Follower::new(context, tokio::sync::watch::channel(life).1);
    let size = size_of_val(&follower.read());
    assert!(size <= 5 * 1024, "{size} bytes more for each that is read");
    let size = size_of_val(&follower.run());
    assert!(size <= 4 * 1024, "{size} bytes for each container");
}
