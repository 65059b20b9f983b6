//! What a line costs between the socket's buffer and the sink's: `cargo xtask bench hot-path`.
//!
//! The speed of looking at each byte once (`memchr`) is the limit. With `--count` the whole path is gone once over a
//! fixed input and nothing is timed, for a tool that counts instructions; it prints how many lines that were.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use log_capturer::capture::recent::Recent;
use log_capturer::capture::resume::Position;
use log_capturer::decode::Chunked;
use log_capturer::decode::{Decoder, Transfer};
use log_capturer::delivery::Records;
use log_capturer::encode::{Encoder, Fields, Tail};
use log_capturer::record::{Container, ContainerId, Line, Stream, Time};

/// What one read brings of a stream that is busy.
const LINES: usize = 250;
const LENGTH: usize = 200;
const MAX_LINE: usize = 1 << 20;
/// Reads of a counted run.
const READS: usize = 400;

fn main() {
    if std::env::args().any(|argument| argument == "--count") {
        let mut path = Path::new();
        let lines: usize = (0..READS).map(|read| path.read(&body(read))).sum();
        return println!("{lines}");
    }
    divan::main();
}

/// What one read brings, as the engine sends it: a chunk a line, in it a frame, in it a time. Each read's lines are later.
fn body(read: usize) -> Vec<u8> {
    let mut body = Vec::new();
    for number in 0..LINES {
        let (minute, second, nanos) = (read / 60 % 60, read % 60, number * 4_000_000);
        let line = format!("2026-11-20T15:{minute:02}:{second:02}.{nanos:09}Z {number:0LENGTH$}\n");
        body.extend_from_slice(format!("{:x}\r\n", line.len() + 8).as_bytes());
        body.extend_from_slice(&[1, 0, 0, 0]);
        body.extend_from_slice(&(line.len() as u32).to_be_bytes());
        body.extend_from_slice(line.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body
}

/// All that is done for a line, but for the system calls.
struct Path {
    decoder: Decoder,
    position: Position,
    recent: Recent,
    encoder: Encoder,
    tail: Tail,
    records: Records,
}

impl Path {
    fn new() -> Self {
        Self {
            decoder: decoder(),
            position: Position::default(),
            recent: Recent::default(),
            encoder: Encoder::default(),
            tail: tail(),
            records: Records::default(),
        }
    }

    /// By this name the counted part is found.
    #[inline(never)]
    fn read(&mut self, input: &[u8]) -> usize {
        let mut lines = 0;
        self.records.clear();
        let (position, recent, encoder) = (&mut self.position, &mut self.recent, &mut self.encoder);
        let decoded = self.decoder.feed(input, &mut |line| {
            if !recent.repeats(&line) {
                position.note(&line);
            }
            self.records.push(encoder, &line, None, &self.tail);
            lines += 1;
        });
        decoded.expect("it is well formed");
        lines
    }
}

fn decoder() -> Decoder {
    Decoder::new(Transfer::Chunked(Chunked::default()), MAX_LINE)
}

fn tail() -> Tail {
    let container = Container {
        id: ContainerId::new(&"0123456789abcdef".repeat(4)),
        name: "web".to_owned(),
        image: "nginx:1.27".to_owned(),
        labels: [("tier".to_owned(), "front".to_owned())].into(),
    };
    let fields = Fields::new(&["*".to_owned()], &[]).expect("a pattern");
    Tail::new(&Arc::new(container), "node-1", &fields)
}

fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    text.chunks(LENGTH).enumerate().map(|(number, bytes)| Line {
        time: Time(1_795_187_098_000_000_000 + number as i64 * 4_000_000),
        stream: Stream::Stdout,
        bytes,
        truncated: false,
    })
}

#[divan::bench]
fn limit_memchr(bencher: Bencher<'_, '_>) {
    let input = body(0);
    bencher
        .counter(BytesCount::of_slice(&input))
        .counter(ItemsCount::new(LINES))
        .bench(|| memchr::memchr_iter(b'\n', &input).count());
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let input = body(0);
    let mut decoder = decoder();
    bencher
        .counter(BytesCount::of_slice(&input))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| {
            decoder.feed(&input, &mut |line| {
                divan::black_box(line);
            })
        });
}

#[divan::bench]
fn resume_check(bencher: Bencher<'_, '_>) {
    let text = vec![b'x'; LINES * LENGTH];
    let (mut position, mut recent, mut read) = (Position::default(), Recent::default(), 0);
    bencher
        .counter(BytesCount::of_slice(&text))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| {
            read += 1;
            for mut line in lines(&text) {
                line.time.0 += read * 1_000_000_000;
                if !recent.repeats(&line) {
                    position.note(&line);
                }
            }
        });
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let text = vec![b'x'; LINES * LENGTH];
    let (mut encoder, tail, mut out) = (Encoder::default(), tail(), Vec::new());
    bencher
        .counter(BytesCount::of_slice(&text))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| {
            out.clear();
            for line in lines(&text) {
                encoder.encode(&line, None, &tail, &mut out);
            }
        });
}

#[divan::bench]
fn whole_path(bencher: Bencher<'_, '_>) {
    let inputs: Vec<_> = (0..READS).map(body).collect();
    let mut next = inputs.iter().cycle();
    let mut path = Path::new();
    bencher
        .counter(BytesCount::of_slice(&inputs[0]))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| next.next().map(|input| path.read(input)));
}
