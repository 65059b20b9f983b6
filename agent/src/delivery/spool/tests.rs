use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::account::Outcome;
use super::super::batch::Batch;
use super::super::had::Had;
use super::super::outbox::Outbox;
use super::super::shared::Bounds;
use super::super::sink::Mark;
use super::super::tests::{line, tail};
use super::super::window::{Next, Order};
use super::options::{Limits, Patience};
use super::*;
use crate::config::WhenFull;
use crate::metrics::registry;

const LONG: Duration = Duration::from_secs(20);

/// Two sinks: one that takes everything at once, and one with a spool, which the test drives.
struct Bench {
    outbox: Outbox,
    metrics: Metrics,
    readiness: Readiness,
    supply: Supply,
    keeper: JoinHandle<()>,
    /// Lines that were pushed.
    pushed: Cell<i64>,
}

fn options(folder: &Path, when_full: WhenFull) -> Options {
    Options {
        folder: folder.to_owned(),
        limits: Limits {
            max_bytes: 32 << 10,
            max_age: Duration::from_secs(3600),
            segment_bytes: 2 << 10,
            together: 0,
        },
        when_full,
        patience: Patience {
            age: Duration::from_millis(50),
            gather: Duration::from_millis(10),
            stall: Duration::from_millis(20),
        },
    }
}

async fn take_everything(mut intake: Intake) {
    while let Some(order) = intake.next().await {
        match order {
            Order::Batch(batch) => {
                let all = 0..batch.records().len();
                intake.settled(batch.records(), all, Outcome::Delivered);
                intake.acknowledge(batch);
            }
            Order::Mark(ticket) => intake.tell(ticket, None),
            Order::Reopen => {}
        }
    }
}

fn bench(options: &Options) -> Bench {
    bench_after(options, Before::default())
}

fn bench_after(options: &Options, before: Before) -> Bench {
    let bounds = Bounds {
        batch_bytes: 1,
        max_batches: 4,
        flush_interval: Duration::from_secs(1),
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["quick".to_owned(), "main".to_owned()]);
    let (metrics, readiness) = (Metrics::new(&registry().unwrap()).unwrap(), Readiness::default());
    let (supply, keeper) = supply(intakes.remove(1), before, Some(options), &metrics, &readiness).unwrap();
    tokio::spawn(take_everything(intakes.remove(0)));
    Bench {
        outbox,
        metrics,
        readiness,
        supply,
        keeper: tokio::spawn(keeper.run()),
        pushed: Cell::default(),
    }
}

impl Bench {
    /// A batch for each, as soon as there is room.
    async fn push(&self, texts: std::ops::Range<usize>) {
        let tail = tail("web");
        for number in texts {
            std::future::poll_fn(|cx| self.outbox.poll_room_for(cx, 1)).await;
            self.outbox.push(&line(number as i64, &number.to_string()), &tail);
            self.pushed.set(self.pushed.get() + 1);
        }
    }

    /// Everything that was pushed is safe: a position may move.
    async fn is_safe(&self) -> bool {
        timeout(Duration::from_millis(400), self.outbox.barrier(|| ()))
            .await
            .is_ok()
    }

    async fn take(&mut self) -> Arc<Batch> {
        loop {
            match self.supply.take().await {
                Next::Order(Order::Batch(batch)) => return batch,
                Next::Order(Order::Mark(ticket)) => self.supply.tell(ticket).await,
                Next::Nothing => timeout(LONG, self.supply.bell()).await.expect("a batch"),
                other => panic!("{other:?}"),
            }
        }
    }

    async fn deliver(&mut self, batch: Arc<Batch>) -> usize {
        let number = batch.records().first_time().unwrap().0 as usize;
        let all = 0..batch.records().len();
        self.supply.settled(batch.records(), all, Outcome::Delivered);
        self.supply.acknowledge(batch).await;
        number
    }

    async fn deliver_next(&mut self) -> usize {
        let batch = self.take().await;
        self.deliver(batch).await
    }

    /// What the sink with the spool says of itself, once all that was pushed is safe.
    async fn mark(&self) -> Mark {
        let saved = self.outbox.barrier(|| ()).await.unwrap().1;
        let main = saved.into_iter().find(|saved| saved.sink == "main");
        main.and_then(|main| main.mark).expect("a mark")
    }

    /// Drift, and what waits in the spool. Each line is in one place of the account.
    fn account(&self) -> (i64, i64) {
        self.outbox.observe(&self.metrics);
        for sink in self.outbox.accounts() {
            let all: i64 = sink.account.containers().map(|id| sink.account.of(id).sum()).sum();
            assert!(
                sink.is_right && all + sink.account.others().sum() == self.pushed.get(),
                "{sink:?}"
            );
        }
        let spool = self.metrics.spool.lines.with_label_values(&["main"]).get();
        (self.metrics.drift.with_label_values(&["main"]).get(), spool)
    }

    fn dropped(&self) -> u64 {
        self.metrics.dropped.with_label_values(&["main", "spool_full"]).get()
    }
}

#[tokio::test]
async fn in_health_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = bench(&options(folder.path(), WhenFull::Block));
    for number in 0..50 {
        bench.push(number..number + 1).await;
        assert_eq!(bench.deliver_next().await, number);
    }
    assert!(bench.is_safe().await);
    assert_eq!(bench.account(), (0, 0));
    let files: Vec<_> = std::fs::read_dir(folder.path().join("main"))
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(files.len(), 1, "a cursor and nothing else: {files:?}");
}

#[tokio::test]
async fn a_sink_that_takes_nothing_holds_up_nobody_and_gets_everything_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = bench(&options(folder.path(), WhenFull::Block));
    bench.push(0..1).await;
    let first = bench.take().await;
    timeout(LONG, bench.push(1..40)).await.expect("reading goes on");
    assert!(bench.is_safe().await);
    assert_eq!(bench.account(), (0, 40));
    assert_eq!(bench.deliver(first).await, 0);
    for number in 1..40 {
        assert_eq!(bench.deliver_next().await, number);
        assert_eq!(bench.account(), (0, 39 - number as i64));
        if number == 20 {
            bench.push(40..45).await;
            assert!(bench.is_safe().await, "what comes meanwhile goes behind");
            assert_eq!(bench.account(), (0, 24));
            for number in 21..45 {
                assert_eq!(bench.deliver_next().await, number);
            }
            break;
        }
    }
    assert_eq!(bench.account(), (0, 0));
    bench.push(45..46).await;
    let batch = bench.take().await;
    assert!(batch.number() > 0, "from memory again");
    assert_eq!(bench.deliver(batch).await, 45);
}

#[tokio::test]
async fn what_is_in_the_spool_outlives_the_agent() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), WhenFull::Block);
    {
        let mut bench = bench(&options);
        bench.push(0..1).await;
        let first = bench.take().await;
        bench.push(1..30).await;
        assert!(bench.is_safe().await);
        bench.outbox.close().await;
        timeout(LONG, &mut bench.keeper)
            .await
            .expect("the end waits for no store")
            .unwrap();
        drop(first);
    }
    let mut bench = bench(&options);
    assert_eq!(bench.account(), (0, 30));
    bench.push(30..32).await;
    for number in 0..32 {
        assert_eq!(bench.deliver_next().await, number);
    }
    assert_eq!(bench.account(), (0, 0));
}

#[tokio::test]
async fn what_was_spooled_behind_the_saved_position_is_left_out_when_it_comes_again() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), WhenFull::Block);
    let mark = {
        let mut bench = bench(&options);
        bench.push(0..1).await;
        let _first = bench.take().await;
        bench.push(1..10).await;
        let mark = bench.mark().await;
        bench.push(10..20).await;
        assert!(bench.is_safe().await);
        bench.keeper.abort();
        mark.saved.as_u64()
    };
    assert_eq!(mark, Some(10));
    let before = Before {
        had: Had::default(),
        spooled: mark,
    };
    let mut bench = bench_after(&options, before);
    let mark = bench.mark().await;
    assert!(!mark.had.is_null(), "the next start needs it, too");
    bench.push(10..25).await;
    for number in 0..25 {
        assert_eq!(bench.deliver_next().await, number);
    }
    assert_eq!(bench.account(), (0, 0));
    let mark = bench.mark().await;
    assert!(mark.had.is_null());
}

#[tokio::test]
async fn a_batch_that_is_left_out_is_no_receipt_for_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path(), WhenFull::Block);
    let mut had = Had::default();
    had.note_all(&super::super::tests::records(&[super::super::tests::Written(
        "web", 1, "1",
    )]));
    let before = Before { had, spooled: None };
    // The disk takes nothing.
    options.folder = folder.path().join("none");
    let mut bench = bench_after(&options, before);
    std::fs::remove_dir_all(&options.folder).unwrap();
    bench.push(0..1).await;
    let first = bench.take().await;
    bench.push(1..2).await;
    assert!(!bench.is_safe().await, "nobody has the first one");
    assert_eq!(bench.deliver(first).await, 0);
    bench.push(2..3).await;
    assert_eq!(bench.deliver_next().await, 2);
    assert_eq!(bench.account(), (0, 0));
    assert_eq!(bench.metrics.waiting.with_label_values(&["main"]).get(), 0);
}

#[tokio::test]
async fn what_comes_again_is_left_out_of_what_is_delivered_from_memory_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut had = Had::default();
    had.note_all(&super::super::tests::records(&[super::super::tests::Written(
        "web", 0, "0",
    )]));
    let mut bench = bench_after(&options(folder.path(), WhenFull::Block), Before { had, spooled: None });
    bench.push(0..2).await;
    assert_eq!(bench.deliver_next().await, 1);
    assert_eq!(bench.account(), (0, 0));
}

#[tokio::test]
async fn a_full_spool_holds_the_reading_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = bench(&options(folder.path(), WhenFull::Block));
    let pushed = timeout(Duration::from_secs(1), bench.push(0..1000)).await;
    assert!(pushed.is_err(), "nothing holds it");
    assert!(!bench.is_safe().await);
    let status = bench.readiness.snapshot()["spool main"].clone();
    assert!(!status.ready && status.detail.contains("full"), "{status:?}");
    for number in 0..20 {
        assert_eq!(bench.deliver_next().await, number);
    }
    timeout(LONG, async { while !bench.is_safe().await {} })
        .await
        .expect("there is room");
    assert!(bench.readiness.snapshot()["spool main"].ready);
    assert_eq!((bench.dropped(), bench.account().0), (0, 0));
}

#[tokio::test]
async fn a_full_spool_drops_the_oldest_or_the_newest_and_counts_them() {
    for when_full in [WhenFull::DropOldest, WhenFull::DropNewest] {
        let folder = tempfile::tempdir().unwrap();
        let mut bench = bench(&options(folder.path(), when_full));
        bench.push(0..1).await;
        let first = bench.take().await;
        bench.supply.settled(first.records(), [], Outcome::Delivered);
        let dropped = bench.supply.dropped();
        timeout(LONG, bench.push(1..300)).await.expect("reading goes on");
        assert!(bench.is_safe().await);
        let (drift, kept) = bench.account();
        assert_eq!((drift, kept + bench.dropped() as i64), (0, 300), "{when_full:?}");
        assert!(kept > 20 && bench.dropped() > 20, "{when_full:?}: {kept} kept");
        assert!(!bench.readiness.snapshot()["spool main"].ready);
        let mut delivered = Vec::new();
        if when_full == WhenFull::DropOldest {
            timeout(LONG, dropped).await.expect("what was lent is dropped, too");
            drop(first);
        } else {
            delivered.push(bench.deliver(first).await);
        }
        while delivered.len() < kept as usize {
            delivered.push(bench.deliver_next().await);
        }
        let expected: Vec<_> = match when_full {
            WhenFull::DropOldest => (300 - kept as usize..300).collect(),
            _ => (0..kept as usize).collect(),
        };
        assert_eq!(delivered, expected, "{when_full:?}");
        assert_eq!(bench.account(), (0, 0));
    }
}
