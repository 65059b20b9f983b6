use std::collections::VecDeque;

use rustix::io::Errno;

use super::super::outbox::Outbox;
use super::super::shared::Bounds;
use super::*;
use crate::encode::{Fields, Tail};
use crate::metrics::registry;
use crate::record::{Container, ContainerId, Line, Stream, Time};

/// What the next write of a sink does.
enum Write {
    Error(Errno),
    /// So many bytes and no more.
    Short(usize),
    /// What is written from here on goes to another place, and what of the batch went to the old one is gone.
    Moved,
    Fatal,
}

struct Faulty {
    writes: VecDeque<Write>,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = match self.writes.pop_front() {
            Some(Write::Error(error)) => return Err(error.into()),
            Some(Write::Fatal) => return Err(io::ErrorKind::BrokenPipe.into()),
            Some(Write::Short(length)) => length,
            Some(Write::Moved) | None => bytes.len(),
        };
        self.written.lock().unwrap().extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn resume(&mut self, _batch: &[u8], written: usize) -> io::Result<usize> {
        if !matches!(self.writes.front(), Some(Write::Moved)) {
            return Ok(written);
        }
        let mut text = self.written.lock().unwrap();
        let left = text.len() - written;
        text.truncate(left);
        Ok(0)
    }

    fn is_fatal(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::BrokenPipe
    }
}

/// A sink on its thread, and what is around it.
struct Bench {
    outbox: Outbox,
    writers: Writers,
    metrics: Metrics,
    readiness: Readiness,
    written: Arc<Mutex<Vec<u8>>>,
}

fn bench(writes: impl IntoIterator<Item = Write>) -> Bench {
    let bounds = Bounds {
        batch_bytes: 1,
        max_batches: 8,
        flush_interval: Duration::from_secs(1),
    };
    let metrics = Metrics::new(&registry().unwrap()).unwrap();
    let readiness = Readiness::default();
    let (outbox, mut intakes) = Outbox::new(bounds, ["archive".to_owned()]);
    let written = Arc::default();
    let sink: Box<dyn Sink> = Box::new(Faulty {
        writes: writes.into_iter().collect(),
        written: Arc::clone(&written),
    });
    let writers = Writers::start([(sink, Had::default(), intakes.remove(0))], &metrics, &readiness).unwrap();
    Bench {
        outbox,
        writers,
        metrics,
        readiness,
        written,
    }
}

impl Bench {
    /// The texts' records, each a batch of its own.
    fn push(&self, texts: &[&str]) {
        let container = Container {
            id: ContainerId::new("abc"),
            name: String::new(),
            image: String::new(),
            labels: Default::default(),
        };
        let tail = Tail::new(&Arc::new(container), "", &Fields::new(&[], &[]).unwrap());
        for text in texts {
            let line = Line {
                time: Time(0),
                stream: Stream::Stdout,
                bytes: text.as_bytes(),
                truncated: false,
                escaped: None,
            };
            self.outbox.push(&line, &tail);
        }
    }

    fn errors(&self, reason: &str) -> u64 {
        self.metrics.errors.with_label_values(&["archive", reason]).get()
    }

    fn texts(&self) -> Vec<String> {
        let written = self.written.lock().unwrap();
        let records = written.split(|&byte| byte == b'\n').filter(|record| !record.is_empty());
        let text = |record: &[u8]| {
            let record: serde_json::Value = serde_json::from_slice(record).unwrap();
            record["line"].as_str().unwrap().to_owned()
        };
        records.map(text).collect()
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

#[test]
fn what_can_pass_is_tried_again_and_every_byte_is_written_once() {
    let bench = bench([
        Write::Error(Errno::DQUOT),
        Write::Error(Errno::NOSPC),
        Write::Short(3),
        Write::Error(Errno::INTR),
        Write::Error(Errno::ROFS),
        Write::Short(40),
        Write::Error(Errno::IO),
    ]);
    bench.push(&["one", "two", "three"]);
    let marks = block_on(bench.outbox.barrier(|| ()));
    assert!(marks.is_some(), "a sink that recovers has acknowledged everything");
    assert_eq!(bench.texts(), ["one", "two", "three"]);
    let errors = ["no_space", "permission", "io"].map(|reason| bench.errors(reason));
    assert_eq!(errors, [2, 1, 1]);
    assert_eq!(bench.metrics.delivered.with_label_values(&["archive"]).get(), 3);
    assert!(bench.readiness.snapshot()["sink archive"].ready);
}

#[test]
fn a_batch_whose_place_is_gone_is_written_anew() {
    let bench = bench([Write::Short(7), Write::Error(Errno::NOSPC), Write::Moved]);
    bench.push(&["one", "two"]);
    block_on(bench.outbox.barrier(|| ())).unwrap();
    assert_eq!(bench.texts(), ["one", "two"]);
}

#[test]
fn a_sink_that_has_failed_for_good_is_named_and_acknowledges_nothing() {
    let bench = bench([Write::Fatal]);
    bench.push(&["one", "two"]);
    let fatal = block_on(bench.writers.failed());
    assert_eq!(fatal.sink, "archive");
    assert!(block_on(bench.outbox.barrier(|| ())).is_none());
    let status = &bench.readiness.snapshot()["sink archive"];
    assert!(!status.ready && status.detail.contains("archive"), "{status:?}");
    assert_eq!(bench.metrics.delivered.with_label_values(&["archive"]).get(), 0);
}

#[tokio::test]
async fn a_task_that_panics_is_told_of_and_one_that_is_ended_is_not() {
    let registry = crate::metrics::registry().unwrap();
    let metrics = Metrics::new(&registry).unwrap();
    let mut writers = Writers::start([], &metrics, &Readiness::default()).unwrap();
    writers.spawn("ended".to_owned(), std::future::pending());
    writers.end(tokio::time::Instant::now()).await;
    writers.spawn("loki".to_owned(), async { panic!("a fault of the test's") });
    let fatal = writers.failed().await;
    assert_eq!(fatal.sink, "loki");
    assert!(writers.are_done());
}
