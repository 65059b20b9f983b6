use std::path::PathBuf;

use super::*;
use crate::delivery::sink::{Durable, Mark};
use crate::delivery::{Bounds, Intake, Order};
use crate::readiness::Readiness;

/// A sink's disk.
#[derive(Debug, Default)]
struct Disk {
    is_broken: AtomicBool,
}

impl Durable for Disk {
    fn sync(&self) -> io::Result<()> {
        if self.is_broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("the disk has lost something"));
        }
        Ok(())
    }
}

/// Acknowledges everything, and has marks that count.
async fn drive(mut intake: Intake, disk: Arc<Disk>) {
    let mut marks = 0;
    while let Some(order) = intake.next().await {
        match order {
            Order::Batch(batch) => intake.acknowledge(batch),
            Order::Mark(ticket) => {
                marks += 1;
                let mark = Mark {
                    saved: Value::from(marks),
                    had: Value::Null,
                    written: Some(Arc::clone(&disk) as Arc<dyn Durable>),
                };
                intake.tell(ticket, Some(mark));
            }
            Order::Reopen => {}
        }
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything that saving wants, with a sink called `file`.
struct Bench {
    checkpoints: Checkpoints,
    readiness: Readiness,
    outbox: Outbox,
    positions: Positions,
    disk: Arc<Disk>,
    _folder: Scratch,
}

impl Bench {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lc-checkpoint-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let folder = Scratch(path);
        let readiness = Readiness::default();
        let checkpoints = Checkpoints::new(
            StateDir::open(&folder.0).unwrap(),
            readiness.part("state"),
            CheckpointMetrics::new(&crate::metrics::registry().unwrap()).unwrap(),
        );
        let bounds = Bounds {
            batch_bytes: 1,
            max_batches: 4,
            flush_interval: INTERVAL,
        };
        let (outbox, intakes) = Outbox::new(bounds, ["file".to_owned()]);
        let disk = Arc::new(Disk::default());
        for intake in intakes {
            tokio::spawn(drive(intake, Arc::clone(&disk)));
        }
        Self {
            checkpoints,
            readiness,
            outbox,
            positions: Positions::default(),
            disk,
            _folder: folder,
        }
    }

    fn see(&self, container: &str) {
        let id = ContainerId::new(container);
        self.positions.publish(&id, &Position::default(), std::iter::empty());
    }

    async fn save(&self) -> io::Result<Duration> {
        self.checkpoints.save(&self.outbox, &self.positions).await
    }

    /// The mark that the next start would go on from, and the containers that it would know.
    fn saved(&self) -> (Option<Value>, usize) {
        let checkpoint = self.checkpoints.load().unwrap();
        (checkpoint.sinks.get("file").cloned(), checkpoint.containers.len())
    }
}

#[tokio::test]
async fn what_a_disk_has_lost_is_no_more_believed_by_the_next_start() {
    let bench = Bench::new("lost");
    bench.see("a");
    bench.save().await.unwrap();
    assert_eq!(bench.saved(), (Some(Value::from(1)), 1));
    assert!(bench.readiness.snapshot()["state"].ready);

    bench.see("b");
    bench.disk.is_broken.store(true, Ordering::Relaxed);
    bench.save().await.unwrap_err();
    // The positions are older than what is lost, and no mark says that the sink has what is behind them.
    assert_eq!(bench.saved(), (None, 1));
    assert!(bench.positions.have_changed(), "it is tried again");
}

#[tokio::test]
async fn that_positions_cannot_be_saved_is_shown_until_they_are() {
    let bench = Bench::new("shown");
    let metrics = &bench.checkpoints.0.metrics;
    bench.disk.is_broken.store(true, Ordering::Relaxed);
    bench.save().await.unwrap_err();
    bench.save().await.unwrap_err();
    let status = bench.readiness.snapshot()["state"].clone();
    assert!(!status.ready && status.detail.contains("lost something"), "{status:?}");
    assert_eq!((metrics.failures.get(), metrics.saved_at.get()), (2, 0.0));

    bench.disk.is_broken.store(false, Ordering::Relaxed);
    let before = Time::now().as_seconds();
    bench.save().await.unwrap();
    assert!(bench.readiness.snapshot()["state"].ready);
    assert!(metrics.saved_at.get() >= before && metrics.failures.get() == 2);
}

#[tokio::test]
async fn the_last_save_has_what_was_seen_before_it() {
    let bench = Bench::new("last");
    for container in ["a", "b", "c"] {
        bench.see(container);
        bench.save().await.unwrap();
    }
    assert_eq!(bench.saved(), (Some(Value::from(3)), 3));
    assert!(!bench.positions.have_changed());
}
