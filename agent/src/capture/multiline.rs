//! Records of several lines: a line that does not look like the start of one goes on in the last.
//!
//! Each of a container's two outputs has its own record under way. It ends where the next one starts, where its limits
//! end it, where nothing comes for a while, and with the log. Until then its lines are in memory only, and the
//! container's position says so: see `unsettled`.

use std::sync::Arc;
use std::time::Duration;

use regex::bytes::Regex;
use tokio::time::Instant;

use super::expressions::Expression;
use super::seen::Seen;
use crate::config;
use crate::record::{Line, Stream, Time};

/// Bytes of a line that decide whether it begins a record: what that costs does not grow with the line.
const LOOKED_AT: usize = 4 * 1024;

/// A buffer that grew beyond this for one long record is given back after it.
const KEEP: usize = 4 * 1024;

/// When a record ends that no other one follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From one line to the next, by their times, and by the clock.
    pub max_delay: Duration,
    pub max_bytes: usize,
    pub max_lines: usize,
}

impl From<&config::Multiline> for Limits {
    fn from(multiline: &config::Multiline) -> Self {
        Self {
            max_delay: multiline.max_delay,
            max_bytes: config::bytes(multiline.max_bytes),
            max_lines: multiline.max_lines,
        }
    }
}

/// What tells the first line of a record.
#[derive(Debug)]
pub enum Start {
    /// The configuration's expression.
    Rule(Arc<Regex>),
    /// The container's own.
    Label(Arc<Expression>),
}

impl Start {
    fn begins_with(&self, line: &[u8]) -> bool {
        let line = &line[..line.len().min(LOOKED_AT)];
        match self {
            Start::Rule(expression) => expression.is_match(line),
            Start::Label(expression) => expression.is_match(line),
        }
    }
}

/// One container's records.
#[derive(Debug)]
pub struct Multiline {
    start: Start,
    limits: Limits,
    under_way: [UnderWay; 2],
}

#[derive(Debug, Default)]
struct UnderWay {
    /// The first line's time.
    time: Option<Time>,
    bytes: Vec<u8>,
    truncated: bool,
    lines: Vec<Seen>,
    /// When the last line came.
    came: Option<Instant>,
}

impl Multiline {
    pub fn new(start: Start, limits: Limits) -> Self {
        Self {
            start,
            limits,
            under_way: Default::default(),
        }
    }

    pub fn start(&self) -> &str {
        match &self.start {
            Start::Rule(expression) => expression.as_str(),
            Start::Label(expression) => expression.text(),
        }
    }

    /// Whether the same lines would be one record by another's rule.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.start(), self.limits) == (other.start(), other.limits)
    }

    /// Goes on with the records that another one has under way.
    pub fn go_on_from(&mut self, other: &mut Self) {
        self.under_way = std::mem::take(&mut other.under_way);
    }

    /// Takes a line. Lends the record that it ends, with the number of its lines.
    pub fn push(&mut self, line: &Line<'_>, out: &mut impl FnMut(&Line<'_>, u32)) {
        let limits = self.limits;
        let record = &mut self.under_way[line.stream as usize];
        let goes_on = record.has_room_for(line, limits) && !self.start.begins_with(line.bytes);
        if !goes_on {
            record.end(line.stream, out);
        }
        record.add(line);
        if record.lines.len() >= limits.max_lines {
            record.end(line.stream, out);
        }
    }

    /// When the next record is to end, if nothing comes before.
    pub fn deadline(&self) -> Option<Instant> {
        let came = self.under_way.iter().filter_map(|record| record.came).min()?;
        Some(came + self.limits.max_delay)
    }

    /// Lends the records that are due.
    pub fn flush_due(&mut self, now: Instant, out: &mut impl FnMut(&Line<'_>, u32)) {
        for stream in Stream::ALL {
            let record = &mut self.under_way[stream as usize];
            if record.came.is_some_and(|came| came + self.limits.max_delay <= now) {
                record.end(stream, out);
            }
        }
    }

    /// Lends all records: nothing more comes.
    pub fn flush(&mut self, out: &mut impl FnMut(&Line<'_>, u32)) {
        for stream in Stream::ALL {
            self.under_way[stream as usize].end(stream, out);
        }
    }

    /// The lines that wait.
    pub fn waiting(&self) -> impl Iterator<Item = Seen> {
        self.under_way.iter().flat_map(|record| record.lines.iter().copied())
    }
}

impl UnderWay {
    fn has_room_for(&self, line: &Line<'_>, limits: Limits) -> bool {
        let pause = self
            .lines
            .last()
            .map_or(0, |last| line.time.0.saturating_sub(last.time.0));
        self.bytes.len() + 1 + line.bytes.len() <= limits.max_bytes
            && u128::try_from(pause).unwrap_or_default() <= limits.max_delay.as_nanos()
    }

    fn add(&mut self, line: &Line<'_>) {
        if self.time.is_none() {
            self.time = Some(line.time);
        } else {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(line.bytes);
        self.truncated |= line.truncated;
        self.lines.push(Seen::of(line));
        self.came = Some(Instant::now());
    }

    fn end(&mut self, stream: Stream, out: &mut impl FnMut(&Line<'_>, u32)) {
        let Some(time) = self.time.take() else {
            return;
        };
        let record = Line {
            time,
            stream,
            bytes: &self.bytes,
            truncated: std::mem::take(&mut self.truncated),
            escaped: None,
        };
        out(&record, u32::try_from(self.lines.len()).unwrap_or(u32::MAX));
        self.came = None;
        self.bytes.clear();
        self.lines.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
            self.lines = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_delay: Duration::from_secs(1),
        max_bytes: 20,
        max_lines: 4,
    };

    fn multiline() -> Multiline {
        Multiline::new(Start::Rule(Arc::new(Regex::new(r"^\S").unwrap())), LIMITS)
    }

    fn line<'a>(stream: Stream, millis: i64, text: &'a str) -> Line<'a> {
        Line {
            time: Time(millis * 1_000_000),
            stream,
            bytes: text.as_bytes(),
            truncated: text.contains('~'),
            escaped: None,
        }
    }

    type Records = Vec<(i64, String, u32, bool)>;

    fn into(records: &mut Records) -> impl FnMut(&Line<'_>, u32) {
        |line, lines| {
            let text = format!("{} {}", line.stream.as_str(), String::from_utf8_lossy(line.bytes));
            records.push((line.time.0 / 1_000_000, text, lines, line.truncated));
        }
    }

    fn records(lines: &[Line<'_>]) -> Records {
        let (mut multiline, mut records) = (multiline(), Vec::new());
        let mut out = into(&mut records);
        for line in lines {
            multiline.push(line, &mut out);
        }
        multiline.flush(&mut out);
        multiline.flush(&mut out);
        drop(out);
        assert_eq!(multiline.waiting().count(), 0);
        assert_eq!(multiline.deadline(), None);
        records
    }

    fn expected(records: &[(i64, &str, u32, bool)]) -> Records {
        let owned =
            |&(time, text, lines, truncated): &(i64, &str, u32, bool)| (time, text.to_owned(), lines, truncated);
        records.iter().map(owned).collect()
    }

    #[test]
    fn streams_do_not_mix() {
        let lines = [
            line(Stream::Stdout, 1, "a"),
            line(Stream::Stderr, 2, "x"),
            line(Stream::Stdout, 3, " b~"),
            line(Stream::Stderr, 4, " y"),
            line(Stream::Stdout, 5, "c"),
        ];
        let want = [
            (1, "stdout a\n b~", 2, true),
            (5, "stdout c", 1, false),
            (2, "stderr x\n y", 2, false),
        ];
        assert_eq!(records(&lines), expected(&want));
    }

    #[test]
    fn limits_end_a_record_and_lose_nothing() {
        let long = "x".repeat(50);
        let lines = [
            // Goes on in nothing: a record of its own.
            line(Stream::Stdout, 0, " a"),
            line(Stream::Stdout, 1, " 34567890"),
            line(Stream::Stdout, 2, " 3456789"),
            line(Stream::Stdout, 3, &long),
            line(Stream::Stdout, 4, " "),
            line(Stream::Stdout, 5, ""),
            line(Stream::Stdout, 6, ""),
            line(Stream::Stdout, 7, ""),
            line(Stream::Stdout, 8, ""),
            line(Stream::Stdout, 1_010, " late"),
        ];
        let want = [
            (0, "stdout  a\n 34567890", 2, false),
            (2, "stdout  3456789", 1, false),
            (3, &format!("stdout {long}") as &str, 1, false),
            (4, "stdout  \n\n\n", 4, false),
            (8, "stdout ", 1, false),
            (1_010, "stdout  late", 1, false),
        ];
        assert_eq!(records(&lines), expected(&want));
    }

    #[test]
    fn only_the_head_of_a_line_is_looked_at() {
        let begins = |at| {
            let line = [&vec![b' '; at][..], b"x"].concat();
            Start::Rule(Arc::new(Regex::new("x").unwrap())).begins_with(&line)
        };
        assert!(begins(0) && begins(LOOKED_AT - 1));
        assert!(!begins(LOOKED_AT));
    }

    #[tokio::test(start_paused = true)]
    async fn time_ends_a_record() {
        let (mut multiline, mut got) = (multiline(), Vec::new());
        let mut out = into(&mut got);
        multiline.push(&line(Stream::Stdout, 1, "a"), &mut out);
        tokio::time::advance(LIMITS.max_delay / 2).await;
        multiline.push(&line(Stream::Stderr, 2, "b"), &mut out);
        assert_eq!(multiline.deadline(), Some(Instant::now() + LIMITS.max_delay / 2));
        multiline.flush_due(Instant::now(), &mut out);
        tokio::time::advance(LIMITS.max_delay / 2).await;
        multiline.flush_due(Instant::now(), &mut out);
        assert_eq!(multiline.waiting().count(), 1);
        assert_eq!(multiline.deadline(), Some(Instant::now() + LIMITS.max_delay / 2));
        drop(out);
        assert_eq!(got, expected(&[(1, "stdout a", 1, false)]));
    }
}
