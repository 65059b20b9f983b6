//! The messages of a log stream to whole lines. No I/O.
//!
//! Before each message stands its time. A message that is whole in the read buffer is lent from there, and one that is
//! split across reads is copied.

use super::error::DecodeError;
use super::frame::{Kind, Piece};
use super::merge::{End, Merge, Message, PART, Pending};
use super::timestamp::{self, Clock};
use crate::record::{Line, Stream, Time};

/// Longest error text of the engine that is kept.
const ENGINE_TEXT: usize = 4 * 1024;
/// What the engine's own error begins with, in the raw stream of a TTY (`write_log_stream.go`). It has no time before it, and
/// no CR before its line feed, as a terminal's lines have.
const ENGINE_ERROR: &[u8] = b"Error grabbing logs: ";

/// Finds the messages of a stream, and merges them into lines.
#[derive(Debug)]
pub(super) struct Lines {
    max: usize,
    clock: Clock,
    merge: Merge,
    /// The bytes of a time that is split across reads, by stream; `None` outside of one.
    stamps: [Option<Vec<u8>>; 2],
    /// A TTY's line that has no line feed yet, with its times still in it.
    raw: Pending,
    /// The last time met: a TTY's message can hold a line feed of its own, and what follows
    /// it has no time.
    last: Option<Time>,
    engine_text: Vec<u8>,
}

impl Lines {
    /// Lines longer than `max` bytes are cut there.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            clock: Clock::default(),
            merge: Merge::new(max, false),
            stamps: [None, None],
            raw: Pending::default(),
            last: None,
            engine_text: Vec::new(),
        }
    }

    /// The earliest time of a line that has begun and not ended: a reader that resumes must
    /// ask for it again.
    pub(super) fn pending_since(&self) -> Option<Time> {
        self.merge.pending_since().into_iter().chain(self.raw.time).min()
    }

    /// Takes a stretch of a frame of a multiplexed stream.
    pub(super) fn frame(&mut self, piece: Piece<'_>, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        let stream = match piece.kind {
            Kind::Stdout => Stream::Stdout,
            Kind::Stderr => Stream::Stderr,
            Kind::Stdin => return Ok(()),
            Kind::SystemError => return self.engine_error(piece),
        };
        if !piece.starts_frame || !piece.ends_frame {
            return self.split_frame(piece, stream, out);
        }
        let (time, text) = self.clock.split(piece.bytes).ok_or_else(|| no_time(piece.bytes))?;
        let (bytes, end) = without_line_feed(text);
        let message = Message {
            time,
            stream,
            bytes,
            escaped: None,
            begins: false,
            end,
        };
        self.merge.message(&message, out);
        Ok(())
    }

    /// A frame that is split across reads.
    fn split_frame(
        &mut self,
        piece: Piece<'_>,
        stream: Stream,
        out: &mut impl FnMut(Line<'_>),
    ) -> Result<(), DecodeError> {
        let stamp = &mut self.stamps[stream as usize];
        if piece.starts_frame {
            *stamp = Some(Vec::with_capacity(timestamp::LONGEST + 1));
        }
        let mut text = piece.bytes;
        if let Some(begun) = stamp {
            let room = timestamp::LONGEST + 1 - begun.len();
            let window = &text[..text.len().min(room)];
            let Some(space) = memchr::memchr(b' ', window) else {
                begun.extend_from_slice(window);
                if piece.ends_frame || begun.len() > timestamp::LONGEST {
                    return Err(no_time(begun));
                }
                return Ok(());
            };
            begun.extend_from_slice(&text[..space]);
            text = &text[space + 1..];
            let time = self.clock.parse(begun).ok_or_else(|| no_time(begun))?;
            *stamp = None;
            self.merge.begin(time, stream, out);
        }
        if !piece.ends_frame {
            self.merge.push(stream, text);
            return Ok(());
        }
        let (text, end) = without_line_feed(text);
        self.merge.push(stream, text);
        self.merge.end(stream, end, out);
        Ok(())
    }

    /// Takes a stretch of a TTY's raw stream, in which nothing but line feeds tells one
    /// message from the next.
    pub(super) fn raw(&mut self, mut input: &[u8], out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        // The times inside a long line are taken out only when it is whole.
        let max = self.max + self.max / PART * timestamp::PREFIX + 2 * timestamp::PREFIX;
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = (&input[..end], &input[end + 1..]);
            input = rest;
            let mut pending = std::mem::take(&mut self.raw);
            if pending.bytes.is_empty() && !pending.cut {
                self.raw_line(line, false, out)?;
            } else {
                pending.push(line, max);
                self.raw_line(&pending.bytes, pending.cut, out)?;
            }
            pending.clear();
            self.raw = pending;
        }
        let pending = &mut self.raw;
        if pending.time.is_none() && !input.is_empty() {
            // Not known before the whole stamp is here; the last line's time is not later.
            pending.time = self.clock.split(input).map(|(time, _)| time).or(self.last);
        }
        pending.push(input, max);
        Ok(())
    }

    /// One line of a TTY, with its times still in it.
    fn raw_line(&mut self, line: &[u8], cut: bool, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        let (mut time, mut text) = match (self.clock.split(line), self.last) {
            (Some(split), _) => split,
            (None, _) if line.starts_with(ENGINE_ERROR) && !line.ends_with(b"\r") => return Err(engine_error(line)),
            (None, Some(last)) => (last, line),
            (None, None) => return Err(no_time(line)),
        };
        let mut merged: Vec<u8> = Vec::new();
        let mut from = 0;
        // Other times can sit inside: that of a further part of a long line, or that of the
        // next line after one that never got its end, when the container was restarted
        // (loki#12197). A part may be longer than it was cut, as json-file writes three bytes
        // for one that is not UTF-8, and its time may be later than the first one's, as for
        // journald. A time that the container printed itself is earlier than the engine's of
        // the same line, or still to come, and stays.
        while let Some((at, next)) = timestamp::find(&mut self.clock, &text[from..]) {
            let at = from + at;
            let is_later = next > time && next <= Time::now();
            if at >= PART && (next == time || is_later) {
                merged.extend_from_slice(&text[..at]);
            } else if is_later {
                merged.extend_from_slice(&text[..at]);
                out(whole(time, Stream::Stdout, without_cr(&merged), self.max));
                merged.clear();
                time = next;
            } else {
                from = at + timestamp::PREFIX;
                continue;
            }
            text = &text[at + timestamp::PREFIX..];
            from = 0;
        }
        self.last = Some(time);
        if !merged.is_empty() {
            merged.extend_from_slice(text);
            text = &merged;
        }
        let mut line = whole(time, Stream::Stdout, without_cr(text), self.max);
        line.truncated |= cut;
        out(line);
        Ok(())
    }

    /// The stream has ended, and the container with it: what has no line feed yet will never
    /// get one.
    pub(super) fn finish(&mut self, tty: bool, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        if tty {
            let pending = std::mem::take(&mut self.raw);
            if !pending.bytes.is_empty() {
                self.raw_line(&pending.bytes, pending.cut, out)?;
            }
            return Ok(());
        }
        self.stamps = [None, None];
        self.merge.finish(out);
        Ok(())
    }

    fn engine_error(&mut self, piece: Piece<'_>) -> Result<(), DecodeError> {
        let room = ENGINE_TEXT - self.engine_text.len();
        let part = &piece.bytes[..piece.bytes.len().min(room)];
        self.engine_text.extend_from_slice(part);
        if !piece.ends_frame {
            return Ok(());
        }
        Err(engine_error(&std::mem::take(&mut self.engine_text)))
    }
}

fn engine_error(text: &[u8]) -> DecodeError {
    let text = &text[..text.len().min(ENGINE_TEXT)];
    DecodeError::Engine(String::from_utf8_lossy(text).trim().to_owned())
}

fn whole(time: Time, stream: Stream, bytes: &[u8], max: usize) -> Line<'_> {
    Line {
        time,
        stream,
        bytes: &bytes[..bytes.len().min(max)],
        truncated: bytes.len() > max,
        escaped: None,
    }
}

/// A terminal ends its lines with CR LF (termios ONLCR).
fn without_cr(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn without_line_feed(text: &[u8]) -> (&[u8], End) {
    match text {
        [bytes @ .., b'\n'] => (bytes, End::Line),
        _ => (text, End::Open),
    }
}

/// Shows the start of what came, and no more: it may be anything.
fn no_time(message: &[u8]) -> DecodeError {
    let head = &message[..message.len().min(40)];
    DecodeError::NoTime(String::from_utf8_lossy(head).into_owned())
}
