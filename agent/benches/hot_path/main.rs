//! What a line costs between the socket's buffer and the sink's: `cargo xtask bench hot-path`.
//!
//! The speed of looking at each byte once (`memchr`) is the limit. With `--count SOURCE` the whole path from there is gone
//! over a fixed input and nothing is timed, for a tool that counts instructions; it prints how many lines that were.

mod sources;

use std::sync::Arc;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use log_capturer::capture::recent::{Recall, Recent};
use log_capturer::capture::resume::Position;
use log_capturer::capture::seen::Seen;
use log_capturer::capture::witness::Witness;
use log_capturer::delivery::Records;
use log_capturer::encode::{Encoder, Fields, Tail};
use log_capturer::record::{Container, ContainerId, Line, Stream, Time};
use sources::{LENGTH, LINES, NAMES, Source, body};

/// Reads of a counted run.
const READS: usize = 100;

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--count");
    if arguments.next().is_some() {
        let name = arguments.next().expect("a source to count");
        let mut path = Path::new(&name);
        let lines: usize = (0..READS).map(|read| path.read(&body(&name, read))).sum();
        return println!("{lines}");
    }
    divan::main();
}

/// All that is done for a line, but for the system calls.
struct Path {
    source: Source,
    from_files: bool,
    position: Position,
    recent: Recent,
    witness: Witness,
    encoder: Encoder,
    tail: Tail,
    records: Records,
}

impl Path {
    fn new(name: &str) -> Self {
        Self {
            source: Source::new(name),
            from_files: name != "api",
            position: Position::default(),
            recent: Recent::default(),
            witness: Witness::default(),
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
        let (witness, from_files) = (&mut self.witness, self.from_files);
        self.source.feed(input, |line| {
            let seen = Seen::of(&line);
            // Files repeat nothing, and leave nothing out.
            if from_files || recent.judge_seen(seen) == Recall::New {
                position.note_seen(seen);
                if !from_files {
                    witness.note(seen, line.bytes.len());
                }
            }
            self.records.push(encoder, &line, None, &self.tail);
            lines += 1;
        });
        lines
    }
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
        escaped: None,
    })
}

#[divan::bench]
fn limit_memchr(bencher: Bencher<'_, '_>) {
    let input = body("json-file", 0);
    bencher
        .counter(BytesCount::of_slice(&input))
        .counter(ItemsCount::new(LINES))
        .bench(|| memchr::memchr_iter(b'\n', &input).count());
}

#[divan::bench(args = NAMES)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let input = body(name, 0);
    let mut source = Source::new(name);
    bencher
        .counter(BytesCount::of_slice(&input))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| {
            source.feed(&input, |line| {
                divan::black_box(line);
            });
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
                let seen = Seen::of(&line);
                if recent.judge_seen(seen) == Recall::New {
                    position.note_seen(seen);
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

#[divan::bench(args = NAMES)]
fn whole_path(bencher: Bencher<'_, '_>, name: &str) {
    let inputs: Vec<_> = (0..READS).map(|read| body(name, read)).collect();
    let mut next = inputs.iter().cycle();
    let mut path = Path::new(name);
    bencher
        .counter(BytesCount::of_slice(&inputs[0]))
        .counter(ItemsCount::new(LINES))
        .bench_local(|| next.next().map(|input| path.read(input)));
}
