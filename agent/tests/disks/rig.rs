//! A file sink, with all that delivers to it.

use std::future::poll_fn;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use log_capturer::delivery::sink::{File, Mark, Sink};
use log_capturer::delivery::{Bounds, Fatal, Had, Metrics, Outbox, Saved, Writers};
use log_capturer::encode::{self, Fields, Tail};
use log_capturer::metrics::registry;
use log_capturer::readiness::Readiness;
use log_capturer::record::{Container, ContainerId, Line, Stream, Time};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Rig {
    runtime: tokio::runtime::Runtime,
    pub outbox: Outbox,
    writers: Writers,
    metrics: Metrics,
    readiness: Readiness,
    tail: Tail,
}

impl Rig {
    /// Every 4 KiB are a batch.
    pub(crate) fn to(path: &Path) -> Self {
        let bounds = Bounds {
            batch_bytes: 4096,
            max_batches: 1024,
            flush_interval: Duration::from_millis(100),
        };
        let metrics = Metrics::new(&registry().expect("a registry")).expect("metrics");
        let readiness = Readiness::default();
        let (outbox, mut intakes) = Outbox::new(bounds, ["archive".to_owned()]);
        let sink: Box<dyn Sink> = Box::new(File::open(path, encode::is_begun).expect("open the file"));
        let writers =
            Writers::start([(sink, Had::default(), intakes.remove(0))], &metrics, &readiness).expect("a thread");
        let container = Container {
            id: ContainerId::new("abc"),
            name: "web".to_owned(),
            image: String::new(),
            labels: Default::default(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime"),
            outbox,
            writers,
            metrics,
            readiness,
            tail: Tail::new(&Arc::new(container), "", &Fields::new(&[], &[]).expect("no patterns")),
        }
    }

    /// A record for each number.
    pub(crate) fn push(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            self.runtime.block_on(poll_fn(|cx| self.outbox.poll_room_for(cx, 1)));
            let text = number.to_string();
            let line = Line {
                time: Time(0),
                stream: Stream::Stdout,
                bytes: text.as_bytes(),
                truncated: false,
                escaped: None,
            };
            self.outbox.push(&line, &self.tail);
        }
    }

    /// Waits until the sink has everything. `None` when it has failed for good.
    pub(crate) fn settled(&self) -> Option<Vec<(String, Mark)>> {
        let barrier = async { tokio::time::timeout(PATIENCE, self.outbox.barrier(|| ())).await };
        let settled = self
            .runtime
            .block_on(barrier)
            .expect("the sink to have everything in time");
        let marks = |saved: Saved| Some((saved.sink, saved.mark?));
        settled.map(|((), saved)| saved.into_iter().filter_map(marks).collect())
    }

    pub(crate) fn failed(&self) -> Fatal {
        let failed = async { tokio::time::timeout(PATIENCE, self.writers.failed()).await };
        self.runtime
            .block_on(failed)
            .expect("the sink to fail for good in time")
    }

    pub(crate) fn wait_error(&self, reason: &str) {
        let start = Instant::now();
        while self.metrics.errors.with_label_values(&["archive", reason]).get() == 0 {
            assert!(start.elapsed() < PATIENCE, "no error {reason}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether `/readyz` says that the sink is, and how.
    pub(crate) fn status(&self) -> (bool, String) {
        let status = self.readiness.snapshot()["sink archive"].clone();
        (status.ready, status.detail)
    }
}

/// The numbers of a file's records, all of which must be whole.
pub(crate) fn numbers(path: &Path) -> Vec<usize> {
    let text = std::fs::read_to_string(path).expect("read the sink's file");
    assert!(
        text.is_empty() || text.ends_with('\n'),
        "a torn record at the end of {}",
        path.display()
    );
    let number = |record: &str| {
        let record: serde_json::Value =
            serde_json::from_str(record).unwrap_or_else(|error| panic!("{error}: {record}"));
        record["line"].as_str().expect("a line").parse().expect("a number")
    };
    text.lines().map(number).collect()
}
