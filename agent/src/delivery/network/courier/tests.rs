use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::super::outbox::Outbox;
use super::super::super::shared::Bounds;
use super::super::super::spool;
use super::super::super::tests::{line, tail};
use super::super::loki::Loki;
use super::super::verdict::Verdict;
use super::*;
use crate::config::{Auth, LokiField, StoreTls, StoreUrl};
use crate::encode;
use crate::engine::{self, Endpoint, Reply};
use crate::metrics::registry;
use crate::readiness::Readiness;
use crate::register::Register;

mod letters;

/// The lines as they are, and Loki's verdicts.
struct Plain(Loki);

impl Protocol for Plain {
    fn headers(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn begin(&mut self, _: &Records) {}

    fn request(&mut self, records: &Records, range: Range<usize>, parts: &Parts) -> Request {
        let mut body = Vec::new();
        let mut count = 0;
        for (number, record) in range.clone().zip(records.range(range.clone())) {
            if !parts.is_refused(number) {
                record.span.append_line(record.text, &mut body);
                body.push(b'\n');
                count += 1;
            }
        }
        Request {
            body: Bytes::from(body),
            range,
            records: count,
            cut: 0,
        }
    }

    fn verdict(&self, reply: &Reply) -> Verdict {
        self.0.verdict(reply)
    }
}

/// What the store does with a request.
enum Turn {
    /// Keeps it.
    Keep,
    /// Answers so, and keeps nothing.
    Refuse(u16, String),
    /// Keeps the lines of these numbers, and answers so.
    KeepSome(Vec<bool>, u16, String),
    /// Keeps it, and cuts its answer off.
    KeepAndCut,
    /// Asks for a pause of so many seconds.
    Pause(u64),
}

#[derive(Clone, Default)]
struct Kept {
    lines: Arc<Mutex<Vec<String>>>,
    requests: Arc<Mutex<Vec<usize>>>,
}

impl Kept {
    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

/// A store in which `turn` decides, by the request's head and its lines.
async fn serve(listener: TcpListener, kept: Kept, mut turn: impl FnMut(&str, &[&str]) -> Turn) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        while let Some((head, body)) = request(&mut stream).await {
            let lines: Vec<&str> = body.lines().collect();
            kept.requests.lock().unwrap().push(lines.len());
            let all = vec![true; lines.len()];
            let mut header = String::new();
            let (keep, status, text) = match turn(&head, &lines) {
                Turn::Keep => (all, 204, String::new()),
                Turn::Refuse(status, text) => (Vec::new(), status, text),
                Turn::KeepSome(keep, status, text) => (keep, status, text),
                Turn::KeepAndCut => (all, 0, String::new()),
                Turn::Pause(seconds) => {
                    header = format!("Retry-After: {seconds}\r\n");
                    (Vec::new(), 429, String::new())
                }
            };
            let chosen = lines.iter().zip(keep).filter(|(_, keep)| *keep);
            let chosen = chosen.map(|(line, _)| (*line).to_owned());
            kept.lines.lock().unwrap().extend(chosen);
            if status == 0 {
                stream.write_all(b"HTTP/1.1 20").await.unwrap();
                break;
            }
            let length = text.len();
            let answer = match status {
                204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                _ => format!("HTTP/1.1 {status} X\r\n{header}Content-Length: {length}\r\n\r\n{text}"),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

async fn request(stream: &mut tokio::net::TcpStream) -> Option<(String, String)> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8(read.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() == length {
                return Some((head.to_owned(), body.to_owned()));
            }
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

struct Rig {
    outbox: Outbox,
    metrics: Metrics,
    readiness: Readiness,
    courier: JoinHandle<()>,
    store: JoinHandle<()>,
    kept: Kept,
}

async fn rig(auth: &Auth, turn: impl FnMut(&str, &[&str]) -> Turn + Send + 'static) -> Rig {
    rig_with(auth, None, turn).await.0
}

/// With dead letters in that folder, of so many bytes at most.
async fn rig_with(
    auth: &Auth,
    letters: Option<(&Path, u64)>,
    turn: impl FnMut(&str, &[&str]) -> Turn + Send + 'static,
) -> (Rig, Option<DeadLetters>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: StoreUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let kept = Kept::default();
    let store = tokio::spawn(serve(listener, kept.clone(), turn));
    let bounds = Bounds {
        batch_bytes: 1 << 20,
        max_batches: 8,
        flush_interval: Duration::from_millis(1),
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["main".to_owned()]);
    let registry = registry().unwrap();
    let (metrics, readiness) = (Metrics::new(&registry).unwrap(), Readiness::default());
    let endpoint = Endpoint::of_store(&url, &StoreTls::default()).unwrap();
    let uncounted = Arc::new(engine::Metrics::new(&registry).unwrap());
    let loki = Loki::new(encode::Loki::new(&[LokiField::Host], &[], 1 << 10), "");
    let (supply, _) = spool::supply(intakes.remove(0), spool::Before::default(), None, &metrics, &readiness).unwrap();
    let dead = letters.map(|(folder, max_bytes)| DeadLetters::open(folder, max_bytes, &metrics).unwrap());
    let courier = Courier::new(
        Store::new(endpoint, "/".to_owned(), "the store", &Register::default(), uncounted),
        Credentials::from(auth),
        Box::new(Plain(loki)),
        supply,
        &metrics,
        readiness.part("sink main"),
        dead.clone(),
    );
    let rig = Rig {
        courier: tokio::spawn(courier.run()),
        outbox,
        metrics,
        readiness,
        store,
        kept,
    };
    (rig, dead)
}

impl Rig {
    /// A batch of these lines, each one nanosecond later than the one before.
    async fn push(&self, lines: &[String]) {
        let tail = tail("web");
        for (time, text) in lines.iter().enumerate() {
            self.outbox.push(&line(time as i64, text), &tail);
        }
        self.outbox.barrier(|| ()).await.unwrap();
    }

    /// Lets it begin, and shows what it looks like once `is_so`.
    async fn push_and_see(&self, lines: &[String], is_so: impl Fn(&Self) -> bool) {
        tokio::select! {
            () = self.push(lines) => panic!("it is done"),
            () = self.see(is_so) => {}
        }
    }

    async fn see(&self, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..2_000 {
            if is_so(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("not so within ten seconds");
    }

    async fn end(self) -> (Metrics, Vec<String>) {
        self.outbox.close().await;
        self.courier.await.unwrap();
        self.outbox.observe(&self.metrics);
        assert_eq!(self.metrics.drift.with_label_values(&["main"]).get(), 0);
        assert_eq!(self.metrics.waiting.with_label_values(&["main"]).get(), 0);
        self.store.abort();
        (self.metrics, self.kept.lines())
    }

    fn is_ready(&self) -> bool {
        self.readiness.snapshot()["sink main"].ready
    }

    fn held(&self, reason: &str) -> i64 {
        self.metrics.network.held.with_label_values(&["main", reason]).get()
    }
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

fn delivered(metrics: &Metrics) -> u64 {
    metrics.delivered.with_label_values(&["main"]).get()
}

fn dropped(metrics: &Metrics, reason: &str) -> u64 {
    metrics.dropped.with_label_values(&["main", reason]).get()
}

fn redelivered(metrics: &Metrics) -> u64 {
    metrics.network.redelivered.with_label_values(&["main"]).get()
}

/// Without the repetitions, which a store drops.
fn distinct(lines: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    lines.into_iter().filter(|line| seen.insert(line.clone())).collect()
}

#[tokio::test]
async fn a_store_that_is_well_gets_each_line_once_and_in_order() {
    let rig = rig(&Auth::default(), |_, _| Turn::Keep).await;
    let lines = numbered(1000);
    rig.push(&lines[..400]).await;
    rig.push(&lines[400..]).await;
    assert_eq!(rig.kept.requests(), 2);
    let (metrics, kept) = rig.end().await;
    assert_eq!(kept, lines);
    assert_eq!((delivered(&metrics), redelivered(&metrics)), (1000, 0));
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_gets_the_same_request_until_it_takes_it() {
    let mut turns = vec![
        Turn::KeepAndCut,
        Turn::Refuse(503, String::new()),
        Turn::Refuse(429, String::new()),
    ];
    let rig = rig(&Auth::default(), move |_, _| turns.pop().unwrap_or(Turn::Keep)).await;
    let lines = numbered(10);
    rig.push(&lines).await;
    assert!(rig.is_ready());
    let (metrics, kept) = rig.end().await;
    assert_eq!(distinct(kept), lines);
    // It answered 503, and cut an answer off: it may have had them already.
    assert_eq!((delivered(&metrics), redelivered(&metrics)), (10, 10));
    let retries = metrics.network.retries.with_label_values(&["main"]).get();
    assert_eq!(retries, 3);
    let answered = |status| metrics.network.requests.with_label_values(&["main", status]).get();
    assert_eq!(["204", "429", "503"].map(answered), [1, 1, 1]);
}

#[tokio::test]
async fn one_bad_line_in_a_thousand_is_found_and_dropped_alone() {
    for text in ["has timestamp too new", "something about an entry"] {
        let rig = rig(&Auth::default(), move |_, lines| {
            let good: Vec<bool> = lines.iter().map(|line| *line != "line 700").collect();
            if good.iter().all(|good| *good) {
                Turn::Keep
            } else {
                Turn::KeepSome(good, 400, text.to_owned())
            }
        })
        .await;
        let lines = numbered(1000);
        rig.push(&lines).await;
        // Each half once: two requests for each halving.
        assert!(rig.kept.requests() <= 21, "{}", rig.kept.requests());
        let (metrics, kept) = rig.end().await;
        let expected: Vec<_> = lines.into_iter().filter(|line| line != "line 700").collect();
        assert_eq!(distinct(kept), expected);
        assert_eq!(delivered(&metrics), 999);
        let reason = if text.contains("too new") { "too_new" } else { "refused" };
        assert_eq!(dropped(&metrics, reason), 1);
    }
}

#[tokio::test]
async fn lines_that_are_too_old_are_found_by_what_the_store_says_of_them() {
    // The lines are of the first nanoseconds of 1970, and all too old but the last ones.
    let oldest = "1970-01-01T00:00:00.0000009Z";
    let rig = rig(&Auth::default(), move |_, lines| {
        let good = |line: &&str| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap() >= 900;
        let good: Vec<bool> = lines.iter().map(good).collect();
        if good.iter().all(|good| *good) {
            Turn::Keep
        } else {
            let text = format!("has timestamp too old: x, oldest acceptable timestamp is: {oldest}");
            Turn::KeepSome(good, 400, text)
        }
    })
    .await;
    let lines = numbered(1000);
    rig.push(&lines).await;
    assert_eq!(rig.kept.requests(), 2);
    let (metrics, kept) = rig.end().await;
    assert_eq!(distinct(kept), lines[900..]);
    assert_eq!((delivered(&metrics), dropped(&metrics, "too_old")), (100, 900));
    assert_eq!(redelivered(&metrics), 100);
}

#[tokio::test]
async fn what_is_too_much_at_once_is_split_and_a_line_that_is_too_much_alone_is_dropped() {
    let rig = rig(&Auth::default(), |_, lines| {
        let bytes: usize = lines.iter().map(|line| line.len()).sum();
        if bytes > 1_000 {
            Turn::Refuse(413, String::new())
        } else {
            Turn::Keep
        }
    })
    .await;
    let mut lines = numbered(500);
    lines[250] = "x".repeat(1_001);
    rig.push(&lines).await;
    let (metrics, kept) = rig.end().await;
    lines.remove(250);
    assert_eq!(kept, lines);
    assert_eq!((delivered(&metrics), dropped(&metrics, "too_large")), (499, 1));
    assert_eq!(redelivered(&metrics), 0);
}

#[tokio::test]
async fn a_wrong_key_holds_the_sink_until_it_is_changed_and_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "wrong").unwrap();
    let auth = Auth {
        bearer_file: file.clone(),
        ..Auth::default()
    };
    let rig = rig(&auth, |head, _| {
        if head.contains("authorization: Bearer right") {
            Turn::Keep
        } else {
            Turn::Refuse(401, "who are you".to_owned())
        }
    })
    .await;
    let lines = numbered(10);
    rig.push_and_see(&lines, |rig| rig.held("unauthorized") == 1 && !rig.is_ready())
        .await;
    let said = rig.readiness.snapshot()["sink main"].detail.clone();
    assert!(said.contains("who are you") && !said.contains("wrong"), "{said}");
    fs::write(folder.path().join("new"), "right").unwrap();
    fs::rename(folder.path().join("new"), &file).unwrap();
    let changed = Instant::now();
    rig.see(Rig::is_ready).await;
    assert!(changed.elapsed() < Duration::from_secs(2), "{:?}", changed.elapsed());
    assert_eq!(rig.held("unauthorized"), 0);
    let (metrics, kept) = rig.end().await;
    assert_eq!((kept, delivered(&metrics)), (lines, 10));
}

#[tokio::test]
async fn whoever_refuses_everything_without_a_reason_holds_the_sink() {
    let text = "Client sent an HTTP request to an HTTPS server.";
    let rig = rig(&Auth::default(), move |_, _| Turn::Refuse(400, text.to_owned())).await;
    rig.push_and_see(&numbered(1000), |rig| rig.held("refused") == 1).await;
    assert_eq!(dropped(&rig.metrics, "refused"), 0);
    assert!(rig.kept.requests() < 100, "{}", rig.kept.requests());
    rig.outbox.observe(&rig.metrics);
    assert_eq!(rig.metrics.waiting.with_label_values(&["main"]).get(), 1000);
    assert_eq!(rig.metrics.drift.with_label_values(&["main"]).get(), 0);
}

#[tokio::test]
async fn a_store_that_asks_for_a_pause_gets_it() {
    let mut first = true;
    let rig = rig(&Auth::default(), move |_, _| {
        if std::mem::take(&mut first) {
            Turn::Pause(1)
        } else {
            Turn::Keep
        }
    })
    .await;
    let began = Instant::now();
    rig.push(&numbered(1)).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let (metrics, kept) = rig.end().await;
    assert_eq!((kept.len(), delivered(&metrics)), (1, 1));
    assert_eq!(metrics.errors.with_label_values(&["main", "rate"]).get(), 1);
}
