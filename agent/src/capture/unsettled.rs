//! Where the sinks' order is not the log's: records of several lines.
//!
//! A line that waits for the rest of its record is older than lines of the other stream that the sinks have already. A
//! position that simply said "up to here" would lose the one or double the others, so it also keeps the lines that wait.
//! And a record that a file was found to have tells the time of its first line only; its lines are recognised by their
//! order in their stream.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::seen::Seen;
use crate::record::{Line, Stream, Time};

/// What a [`super::resume::Position`] does not say by its last lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Unsettled {
    /// Lines up to the last one that no sink has, in the order of reading.
    waiting: VecDeque<Seen>,
    /// The fingerprints of each stream's next lines, which the sinks have.
    written: [VecDeque<u64>; 2],
}

impl Unsettled {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && !self.has_written()
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub fn has_written(&self) -> bool {
        self.written.iter().any(|fingerprints| !fingerprints.is_empty())
    }

    /// The earliest time of a line that waits.
    pub fn earliest(&self) -> Option<Time> {
        self.waiting.iter().map(|seen| seen.time).min()
    }

    /// Lines that wait, behind those that did.
    pub fn wait(&mut self, lines: impl Iterator<Item = Seen>) {
        self.waiting.extend(lines);
    }

    /// Whether a line is one that waited. Then it is read again now, and waits no more.
    pub fn is_waiting(&mut self, line: &Line<'_>) -> bool {
        if self.waiting.is_empty() {
            return false;
        }
        let seen = Seen::of(line);
        let at = self.waiting.iter().position(|waiting| *waiting == seen);
        at.is_some_and(|at| self.waiting.remove(at).is_some())
    }

    /// Lines that wait have not come again, and will not. Tells whether there were any.
    pub fn give_up_waiting(&mut self) -> bool {
        let any = self.has_waiting();
        self.waiting = VecDeque::new();
        any
    }

    /// A file has a record with these lines.
    pub fn found(&mut self, stream: Stream, record: &[u8]) {
        let lines = record.split(|&byte| byte == b'\n');
        self.written[stream as usize].extend(lines.map(|line| Seen::fingerprint(stream, line)));
    }

    /// Whether a line that is new to the position is one that the sinks have.
    pub fn is_written(&mut self, line: &Line<'_>) -> bool {
        let fingerprints = &mut self.written[line.stream as usize];
        let is_next = fingerprints
            .front()
            .is_some_and(|next| *next == Seen::of(line).fingerprint);
        is_next && fingerprints.pop_front().is_some()
    }

    /// What the sinks have must have come by now: it would be older than what comes.
    pub fn give_up_written(&mut self) {
        self.written = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(time: i64, stream: Stream, text: &str) -> Line<'_> {
        Line {
            time: Time(time),
            stream,
            bytes: text.as_bytes(),
            truncated: false,
            escaped: None,
        }
    }

    #[test]
    fn what_waits_is_known_once_and_by_its_time() {
        let mut unsettled = Unsettled::default();
        let (first, second) = (line(1, Stream::Stdout, "a"), line(2, Stream::Stdout, "a"));
        unsettled.wait([Seen::of(&first), Seen::of(&second), Seen::of(&second)].into_iter());
        assert_eq!(unsettled.earliest(), Some(Time(1)));
        assert!(!unsettled.is_waiting(&line(1, Stream::Stderr, "a")));
        assert!(unsettled.is_waiting(&first) && !unsettled.is_waiting(&first));
        assert!(unsettled.is_waiting(&second) && unsettled.is_waiting(&second));
        assert!(unsettled.is_empty() && !unsettled.give_up_waiting());
    }

    #[test]
    fn what_is_written_is_known_by_its_order_in_its_stream() {
        let mut unsettled = Unsettled::default();
        unsettled.found(Stream::Stdout, b"a\n\nb");
        unsettled.found(Stream::Stderr, b"b");
        let text = serde_json::to_string(&unsettled).unwrap();
        let mut unsettled: Unsettled = serde_json::from_str(&text).unwrap();
        for (stream, text, written) in [
            (Stream::Stdout, "b", false),
            (Stream::Stdout, "a", true),
            (Stream::Stderr, "b", true),
            (Stream::Stderr, "b", false),
            (Stream::Stdout, "", true),
            (Stream::Stdout, "b", true),
            (Stream::Stdout, "a", false),
        ] {
            assert_eq!(
                unsettled.is_written(&line(9, stream, text)),
                written,
                "{stream:?} {text}"
            );
        }
        assert!(unsettled.is_empty());
    }
}
