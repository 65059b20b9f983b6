use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use super::super::window::Order;
use std::task::Waker;
use std::time::Duration;

use super::*;
use crate::encode::Fields;
use crate::record::{Container, ContainerId, Stream, Time};

struct Counted(AtomicUsize);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Every record is a batch of its own.
fn outbox(max_batches: usize, sinks: &[&str]) -> (Outbox, Vec<Intake>) {
    let bounds = Bounds {
        batch_bytes: 1,
        max_batches,
        flush_interval: Duration::from_secs(1),
    };
    Outbox::new(bounds, sinks.iter().map(|&name| name.to_owned()))
}

fn push(outbox: &Outbox, text: &[u8]) {
    let container = Container {
        id: ContainerId::new("abc"),
        name: String::new(),
        image: String::new(),
        labels: Default::default(),
    };
    let tail = Tail::new(&Arc::new(container), "", &Fields::new(&[], &[]).unwrap());
    let line = Line {
        time: Time(0),
        stream: Stream::Stdout,
        bytes: text,
        truncated: false,
        escaped: None,
    };
    outbox.push(&line, &tail);
}

fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The next batch, which must be there.
fn batch(intake: &mut Intake) -> Arc<Batch> {
    match ready(intake.next()) {
        Some(Some(Order::Batch(batch))) => batch,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ten_thousand_streams_wait_and_each_is_woken_once() {
    let (outbox, mut intakes) = outbox(1, &["one"]);
    push(&outbox, b"");
    assert!(!outbox.has_room());
    let streams: Vec<_> = (0..10_000).map(|_| Arc::new(Counted(AtomicUsize::new(0)))).collect();
    for _ in 0..3 {
        for stream in &streams {
            let waker = Waker::from(Arc::clone(stream));
            assert!(outbox.poll_room_for(&mut Context::from_waker(&waker), 1).is_pending());
        }
    }
    assert_eq!(outbox.shared.lock().waiting.len(), streams.len());
    let taken = batch(&mut intakes[0]);
    intakes[0].acknowledge(taken);
    assert!(streams.iter().all(|stream| stream.0.load(Ordering::SeqCst) == 1));
    assert!(outbox.has_room() && outbox.shared.lock().waiting.is_empty());
}

#[test]
fn what_may_be_read_has_room_whatever_its_records_bear() {
    let bounds = Bounds {
        batch_bytes: 256 * 1024,
        max_batches: 8,
        flush_interval: Duration::from_secs(1),
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["one".to_owned(), "slow".to_owned()]);
    let mut cx = Context::from_waker(Waker::noop());
    for label in [0, 300, 16_000] {
        let container = Container {
            id: ContainerId::new("abc"),
            name: String::new(),
            image: String::new(),
            labels: [("label".to_owned(), "x".repeat(label))].into(),
        };
        let tail = Tail::new(&Arc::new(container), "", &Fields::new(&["*".to_owned()], &[]).unwrap());
        while let Poll::Ready(bytes) = outbox.poll_room_for(&mut cx, tail.growth()) {
            // Two-byte lines, with a time and a space before them.
            for _ in 0..bytes / 33 {
                let line = Line {
                    time: Time(0),
                    stream: Stream::Stdout,
                    bytes: b"x",
                    truncated: false,
                    escaped: None,
                };
                outbox.push(&line, &tail);
            }
            let waiting = outbox.shared.lock().records.text().len();
            assert!(waiting <= 2 * bounds.batch_bytes, "{waiting} bytes in a batch");
        }
        for intake in &mut intakes {
            let all: Vec<_> = (0..bounds.max_batches).map(|_| batch(intake)).collect();
            let bytes: usize = all.iter().map(|batch| batch.records().text().len()).sum();
            assert!(
                bytes <= (bounds.max_batches + 1) * bounds.batch_bytes,
                "{label}: {bytes}"
            );
            all.into_iter().for_each(|batch| intake.acknowledge(batch));
        }
    }
}

#[test]
fn each_sink_has_a_window_of_its_own_and_the_fullest_holds_the_reading() {
    let (outbox, mut intakes) = outbox(2, &["quick", "slow"]);
    let [quick, slow] = &mut intakes[..] else { panic!() };
    for number in 1..=2 {
        push(&outbox, b"");
        let taken = batch(quick);
        assert_eq!(taken.number(), number);
        quick.acknowledge(taken);
    }
    assert!(!outbox.has_room(), "the slow one has two");
    // It has them all the same, in their order, and lets go of one after the other.
    let first = batch(slow);
    assert_eq!(first.number(), 1);
    slow.acknowledge(first);
    assert!(outbox.has_room());
    push(&outbox, b"");
    assert!(!outbox.has_room());
    assert_eq!(
        (batch(quick).number(), batch(slow).number(), batch(slow).number()),
        (3, 2, 3)
    );
}

#[test]
fn a_barrier_waits_for_every_sink_and_has_the_mark_of_that_moment() {
    let (outbox, mut intakes) = outbox(4, &["one", "two"]);
    push(&outbox, b"before");
    let mut barrier = pin!(outbox.barrier(|| "seen"));
    let mut poll = || barrier.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    push(&outbox, b"after");
    for (number, intake) in intakes.iter_mut().enumerate() {
        assert!(poll().is_pending());
        let taken = batch(intake);
        assert!(
            ready(intake.next()).is_none(),
            "neither the mark nor the next batch before the receipt"
        );
        intake.acknowledge(taken);
        let Some(Some(Order::Mark(ticket))) = ready(intake.next()) else {
            panic!()
        };
        let mark = Mark {
            saved: number.into(),
            had: Default::default(),
            written: None,
        };
        intake.tell(ticket, (number == 1).then_some(mark));
        assert_eq!(batch(intake).number(), 2);
    }
    let Poll::Ready(Some(("seen", marks))) = poll() else {
        panic!()
    };
    let saved: Vec<_> = marks
        .iter()
        .filter_map(|saved| Some((saved.sink.as_str(), saved.mark.as_ref()?.saved.as_u64())))
        .collect();
    assert_eq!(saved, [("two", Some(1))]);
}

#[test]
fn after_a_sink_has_gone_nothing_is_held_and_no_barrier_passes() {
    let (outbox, mut intakes) = outbox(1, &["one", "two"]);
    push(&outbox, b"");
    let taken = batch(&mut intakes[0]);
    intakes[0].acknowledge(taken);
    intakes.truncate(1);
    assert!(outbox.has_room());
    let mut barrier = pin!(outbox.barrier(|| ()));
    let mut poll = || barrier.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    let Some(Some(Order::Mark(ticket))) = ready(intakes[0].next()) else {
        panic!()
    };
    intakes[0].tell(ticket, None);
    assert!(matches!(poll(), Poll::Ready(None)));
}

/// Batches come and go, and the same room serves them all.
#[test]
fn no_more_batches_live_than_the_window_has() {
    let bounds = Bounds {
        batch_bytes: 4096,
        max_batches: 3,
        flush_interval: Duration::from_secs(1),
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["one".to_owned(), "two".to_owned()]);
    let mut rooms = std::collections::HashSet::new();
    for _ in 0..50 {
        while outbox.has_room() {
            push(&outbox, &[b'x'; 100]);
        }
        for intake in &mut intakes {
            let taken = batch(intake);
            rooms.insert(taken.records().text().as_ptr());
            intake.acknowledge(taken);
        }
    }
    assert!(
        rooms.len() <= 4,
        "{} buffers for a window of three and the one that gathers",
        rooms.len()
    );
}

#[test]
fn a_thread_waits_for_what_comes_and_sees_the_end() {
    let (outbox, mut intakes) = outbox(1, &["one"]);
    let mut intake = intakes.remove(0);
    let sink = std::thread::spawn(move || {
        let mut numbers = Vec::new();
        while let Some(order) = intake.wait() {
            if let Order::Batch(batch) = order {
                numbers.push(batch.number());
                intake.acknowledge(batch);
            }
        }
        numbers
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        for _ in 0..200 {
            poll_fn(|cx| outbox.poll_room(cx)).await;
            push(&outbox, b"");
        }
        outbox.close().await;
    });
    assert_eq!(sink.join().unwrap(), (1..=200).collect::<Vec<_>>());
}
