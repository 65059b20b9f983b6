//! A plain model of an engine, whose lines are all taken once.

use super::*;

/// A line of the model: its time, and its text.
type Entry = (i64, String);

fn line(entry: &Entry) -> Line<'_> {
    Line {
        time: Time(entry.0),
        stream: Stream::Stdout,
        bytes: entry.1.as_bytes(),
        truncated: false,
        escaped: None,
    }
}

/// What an engine sends that holds `log`: `all` filters every line (20.10), or else none
/// after the first that matches.
fn engine(log: &[Entry], since: Since, all: bool) -> Vec<Entry> {
    let since = match since {
        Since::Beginning => return log.to_vec(),
        Since::Time(since) => since,
        Since::Tail { records, .. } => return log[log.len().saturating_sub(records as usize)..].to_vec(),
    };
    let matches = |entry: &&Entry| entry.0 >= since.0;
    if all {
        log.iter().filter(matches).cloned().collect()
    } else {
        log.iter().skip_while(|e| !matches(e)).cloned().collect()
    }
}

/// Later than all lines.
const NOW: Time = Time(i64::MAX);

/// Reads a stream to its end; gives what was new, and whether a gap was found.
fn read(position: &mut Position, sent: &[Entry], reach: Reach, take: usize) -> (Vec<Entry>, bool) {
    let mut replay = position.replay(position.since(reach, NOW));
    let (mut new, mut gap) = (Vec::new(), false);
    for entry in &sent[..take.min(sent.len())] {
        let verdict = replay.as_mut().map_or(Verdict::New, |r| r.judge(&line(entry)));
        match verdict {
            Verdict::Seen => continue,
            Verdict::New => {}
            Verdict::NewAfterGap => gap = true,
        }
        position.note(&line(entry));
        new.push(entry.clone());
    }
    (new, gap)
}

/// A small random generator with a seed that a failure shows (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Times that go on, stand still, or run back by less than the margin; equal texts too.
fn random_log(random: &mut Random, lines: usize) -> Vec<Entry> {
    let mut time = 1_000_000_000_000;
    let step = [1, 1_000, 1_000_000, 50_000_000][random.below(4) as usize];
    // Lines of one time and one text cannot be told apart once they are forgotten; on a
    // clock that counts nanoseconds there are not thousands of them.
    let texts = if step < 1_000_000 { u64::MAX } else { 3 };
    (0..lines)
        .map(|_| {
            time += random.below(step) as i64;
            let back = random.below(8) == 0;
            let jitter = if back {
                random.below(MARGIN_NANOS as u64 / 2) as i64
            } else {
                0
            };
            (time - jitter, format!("text {}", random.below(texts)))
        })
        .collect()
}

#[test]
fn nothing_is_lost_or_doubled_wherever_the_stream_is_cut() {
    for seed in 1..200_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let lines = 50 + random.below(6_000) as usize;
        let log = random_log(&mut random, lines);
        let filters_all = random.below(2) == 0;
        let mut position = Position::default();
        let mut got = Vec::new();
        let mut written = 0;
        let mut streams = 0;
        while got.len() < log.len() {
            streams += 1;
            assert!(streams < 1_000, "seed {seed}: {} of {} lines", got.len(), log.len());
            // The log grows between two streams, and the reader takes some of it.
            written = (written + random.below(2_000) as usize).min(log.len());
            let take = random.below(10_000) as usize;
            let before = position.clone();
            let sent = engine(&log[..written], position.since(Reach::END, NOW), filters_all);
            let (mut new, gap) = read(&mut position, &sent, Reach::END, take);
            if gap {
                // The end of the log did not reach back far enough: all of it, then.
                position = before;
                let sent = engine(&log[..written], position.since(Reach::ALL, NOW), filters_all);
                let gap;
                (new, gap) = read(&mut position, &sent, Reach::ALL, take);
                assert!(!gap, "seed {seed}: a gap where there is none");
            }
            got.extend(new);
        }
        assert!(got == log, "seed {seed}");
    }
}

#[test]
fn a_log_that_lost_its_beginning_is_a_gap() {
    let log: Vec<Entry> = (0..1_000).map(|i| (i * 1_000_000_000, format!("{i}"))).collect();
    let mut position = Position::default();
    read(&mut position, &log, Reach::ALL, 500);
    let sent = engine(&log[600..], position.since(Reach::ALL, NOW), true);
    let (new, gap) = read(&mut position, &sent, Reach::ALL, usize::MAX);
    assert!(gap);
    assert_eq!(new.len(), 400);
}

#[test]
fn a_line_that_has_begun_is_asked_for_again() {
    let mut position = Position::default();
    for i in 0..1_000 {
        position.note(&line(&(1_000_000_000_000 + i * 1_000_000_000, "x".into())));
    }
    let begun = Time(1_000_500_000_000);
    assert!(position.set_begun(Some(begun)));
    assert_eq!(
        position.since(Reach::END, NOW),
        Since::Time(Time(begun.0 - MARGIN_NANOS))
    );
    assert!(position.set_begun(None));
    let since = position.since(Reach::END, NOW);
    assert!(matches!(since, Since::Tail { records: 2_000, .. }), "{since:?}");
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    const HOUR: i64 = 3_600_000_000_000;
    let entry = |i: i64| {
        (
            100 * HOUR + i * 1_000_000_000 + if i < 50 { HOUR } else { 0 },
            format!("{i}"),
        )
    };
    let log: Vec<Entry> = (0..100).map(entry).collect();
    for filters_all in [true, false] {
        for cut in 0..100 {
            let mut position = Position::default();
            let (mut got, _) = read(&mut position, &log, Reach::ALL, cut);
            let sent = engine(&log, position.since(Reach::END, NOW), filters_all);
            let (new, gap) = read(&mut position, &sent, Reach::END, usize::MAX);
            assert!(!gap, "cut at {cut}");
            got.extend(new);
            assert!(got == log, "cut at {cut}");
        }
    }
}

#[test]
fn a_line_without_its_line_feed_comes_again_behind_others() {
    let mut position = Position::default();
    let at = |i: i64, text: &str| (1_000_000_000_000 + i, text.to_owned());
    position.note(&line(&at(1, "whole")));
    position.note_open(&line(&at(2, "no end")));
    // The next run writes to the other stream first; only then is the old line ended.
    let sent = [at(1, "whole"), at(3, "stderr"), at(2, "no end"), at(4, "next")];
    let (new, gap) = read(&mut position, &sent, Reach::END, usize::MAX);
    assert!(!gap);
    assert_eq!(new, [at(3, "stderr"), at(4, "next")]);
}

/// A file has the line as any other: whether it had its line feed is not known after a restart.
#[test]
fn a_last_line_without_its_line_feed_is_no_gap_at_the_end_of_the_log() {
    let mut position = Position::default();
    let at = |i: i64, text: &str| (1_000_000_000_000 + i, text.to_owned());
    for entry in [at(1, "whole"), at(2, "no end")] {
        position.note(&line(&entry));
    }
    for (begun, is_there) in [(1, false), (2, true), (3, false)] {
        let mut replay = position.replay(Since::Beginning).unwrap();
        assert_eq!(replay.judge(&line(&at(1, "whole"))), Verdict::Seen);
        replay.ends_with_begun(Time(1_000_000_000_000 + begun));
        assert_eq!(replay.has_caught_up(), is_there, "{begun}");
    }
    let mut replay = position.replay(Since::Beginning).unwrap();
    replay.judge(&line(&at(1, "whole")));
    replay.ends_with_begun(Time(1_000_000_000_002));
    // It is known when it ends, also behind another stream's lines.
    assert_eq!(replay.judge(&line(&at(3, "stderr"))), Verdict::New);
    assert_eq!(replay.judge(&line(&at(2, "no end"))), Verdict::Seen);
    assert!(replay.is_over());
}

#[test]
fn memory_is_bounded() {
    let mut position = Position::default();
    for i in 0..100_000 {
        position.note(&line(&(i, "x".into())));
    }
    assert_eq!(position.seen.len(), KEEP);
}
