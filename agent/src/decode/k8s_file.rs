//! The records of Podman's `k8s-file` driver (`conmon`), which are those of CRI runtimes:
//! `2026-11-20T17:04:58.662848374+02:00 stdout F text` and a line feed.
//!
//! `F` is the end of a line, `P` a part of one. Podman ends a part where one read ended, and gives each part its own time.
//! A line has that of its first part.

use super::merge::{End, Message};
use super::records::{Format, LONGEST, Step, leading_nuls};
use super::timestamp::{self, Clock};
use crate::record::{Stream, Time};

/// More than what stands before a record's text, as long as there is one tag.
const HEAD: usize = timestamp::LONGEST + " stdout F ".len();

/// Reads records.
#[derive(Debug, Default)]
pub(super) struct K8sFile {
    clock: Clock,
    /// A record that is longer than [`LONGEST`], of which some has been read. A runtime need not cut lines.
    inside: Option<Head>,
}

/// What stands before a record's text.
#[derive(Clone, Copy, Debug)]
struct Head {
    time: Time,
    stream: Stream,
    end: End,
}

impl Head {
    fn message<'a>(&self, bytes: &'a [u8]) -> Message<'a> {
        Message {
            time: self.time,
            stream: self.stream,
            bytes,
            escaped: None,
            begins: false,
            end: self.end,
        }
    }

    /// All of a record, or its last piece: the text begins at `from`, and a line feed is behind it.
    fn whole<'a>(&self, text: &'a [u8], from: usize) -> Step<'a> {
        Step::Record {
            message: self.message(text),
            bytes: from + text.len() + 1,
            is_whole: true,
        }
    }

    /// A piece that is not the last one.
    fn piece<'a>(&self, text: &'a [u8], from: usize) -> Step<'a> {
        Step::Record {
            message: Message {
                end: End::Part,
                ..self.message(text)
            },
            bytes: from + text.len(),
            is_whole: false,
        }
    }
}

impl Format for K8sFile {
    fn next<'a>(&mut self, input: &'a [u8], _: &'a mut Vec<u8>) -> Step<'a> {
        if let Some(head) = self.inside {
            let Some(end) = memchr::memchr(b'\n', input) else {
                return head.piece(input, 0);
            };
            self.inside = None;
            return head.whole(&input[..end], 0);
        }
        let head = self.head(input);
        let from = head.map_or(0, |(_, from)| from);
        let end = memchr::memchr(b'\n', &input[from..]).map(|end| from + end);
        match (head, end) {
            (Some((head, from)), Some(end)) => head.whole(&input[from..end], from),
            (Some((head, from)), None) if input.len() >= LONGEST => {
                self.inside = Some(head);
                head.piece(&input[from..], from)
            }
            (Some(_), None) => Step::Wait,
            (None, end) => self.damage(input, end),
        }
    }

    fn last<'a>(&mut self, rest: &'a [u8], _: &'a mut Vec<u8>) -> Step<'a> {
        let head = self.inside.take().map(|head| (head, 0)).or_else(|| self.head(rest));
        match head {
            Some((head, from)) => Step::Record {
                message: head.message(&rest[from..]),
                bytes: rest.len(),
                is_whole: true,
            },
            None => Step::Damage(rest.len()),
        }
    }
}

impl K8sFile {
    /// What the input begins with, and where the text begins.
    fn head(&mut self, input: &[u8]) -> Option<(Head, usize)> {
        let stamp = &input[..input.len().min(timestamp::LONGEST + 1)];
        let stamp = &stamp[..memchr::memchr(b' ', stamp)?];
        let (stream, tags) = match input[stamp.len()..].split_first_chunk()? {
            (b" stdout ", tags) => (Stream::Stdout, tags),
            (b" stderr ", tags) => (Stream::Stderr, tags),
            _ => return None,
        };
        let end = match tags.first()? {
            b'F' => End::Line,
            b'P' => End::Part,
            _ => return None,
        };
        let tags = match tags[1..] {
            [b' ', ..] => 2,
            // A space at the end of an empty line may have been lost on the way.
            [b'\n', ..] => 1,
            // There may be other tags one day (`kuberuntime/logs`).
            [b':', ..] => {
                let tags = memchr::memchr2(b' ', b'\n', tags).filter(|&end| tags[end] == b' ');
                tags? + 1
            }
            _ => return None,
        };
        let time = self.clock.parse(stamp)?;
        Some((Head { time, stream, end }, stamp.len() + " stdout ".len() + tags))
    }

    /// What does not begin with a record. `end` is the place of the first line feed.
    fn damage<'a>(&mut self, input: &[u8], end: Option<usize>) -> Step<'a> {
        let nuls = leading_nuls(input);
        if nuls > 0 {
            return Step::Damage(nuls);
        }
        if end.is_none() && input.len() < LONGEST {
            return Step::Wait;
        }
        let line = &input[..end.unwrap_or(input.len())];
        // What may be the start of a record stays.
        let rest = end.map_or_else(|| input.len() - HEAD, |end| end + 1);
        Step::Damage(self.later_head(line).unwrap_or(rest))
    }

    /// Where a record begins behind what the power loss left of another one.
    fn later_head(&mut self, line: &[u8]) -> Option<usize> {
        const SHORTEST: usize = "2026-11-20T15:04:58Z".len();
        memchr::memmem::find_iter(line, b" std").find_map(|behind| {
            let mut places = behind.saturating_sub(timestamp::LONGEST)..(behind + 1).saturating_sub(SHORTEST);
            places.find(|&at| at > 0 && self.head(&line[at..]).is_some())
        })
    }
}
