//! Messages to whole lines. No I/O.
//!
//! The engine cuts lines into parts of 16 KiB (`copier.go`), each with the *first* part's
//! time, and only the last part ends in a line feed. The parts of stdout and stderr can
//! interleave, so each stream merges its own. A message that is whole in the read buffer is
//! lent from there; only what is split gets copied.

use super::error::DecodeError;
use super::frame::{Kind, Piece};
use super::timestamp::{self, Clock};
use crate::record::{Line, Stream, Time};

/// Where `copier.go` cuts a line that is longer.
const PART: usize = 16 * 1024;
/// A buffer that grew beyond this for one long line is given back after it.
const KEEP: usize = 4 * 1024;
/// Longest error text of the engine that is kept.
const ENGINE_TEXT: usize = 4 * 1024;

/// Merges messages into lines.
#[derive(Debug)]
pub struct Lines {
    max: usize,
    clock: Clock,
    pending: [Pending; 2],
    /// The last time met: a TTY's message can hold a line feed of its own, and what follows
    /// it has no time.
    last: Option<Time>,
    engine_text: Vec<u8>,
}

/// A line of which the end has not come yet.
#[derive(Debug, Default)]
struct Pending {
    /// `Some` once the time of the first part is known.
    time: Option<Time>,
    /// Bytes of a time that is split across reads; `None` outside of one.
    stamp: Option<Vec<u8>>,
    bytes: Vec<u8>,
    /// More came than `max` allows.
    cut: bool,
}

impl Pending {
    fn push(&mut self, bytes: &[u8], max: usize) {
        let room = max.saturating_sub(self.bytes.len());
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn clear(&mut self) {
        self.time = None;
        self.cut = false;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

impl Lines {
    /// Lines longer than `max` bytes are cut there.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            clock: Clock::default(),
            pending: Default::default(),
            last: None,
            engine_text: Vec::new(),
        }
    }

    /// The earliest time of a line that has begun and not ended: a reader that resumes must
    /// ask for it again.
    pub fn pending_since(&self) -> Option<Time> {
        self.pending.iter().filter_map(|p| p.time).min()
    }

    /// Takes a stretch of a frame of a multiplexed stream.
    pub fn frame(&mut self, piece: Piece<'_>, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        let stream = match piece.kind {
            Kind::Stdout => Stream::Stdout,
            Kind::Stderr => Stream::Stderr,
            Kind::Stdin => return Ok(()),
            Kind::SystemError => return self.engine_error(piece),
        };
        let pending = &mut self.pending[stream as usize];
        if piece.starts_frame && piece.ends_frame && pending.time.is_none() {
            let (time, text) = self.clock.split(piece.bytes).ok_or_else(|| no_time(piece.bytes))?;
            if let Some(bytes) = text.strip_suffix(b"\n") {
                out(whole(time, stream, bytes, self.max));
            } else {
                pending.time = Some(time);
                pending.push(text, self.max);
            }
            return Ok(());
        }
        self.split_frame(piece, stream, out)
    }

    /// A frame that is split across reads, or that continues a line.
    fn split_frame(
        &mut self,
        piece: Piece<'_>,
        stream: Stream,
        out: &mut impl FnMut(Line<'_>),
    ) -> Result<(), DecodeError> {
        let pending = &mut self.pending[stream as usize];
        if piece.starts_frame {
            pending.stamp = Some(Vec::with_capacity(timestamp::LONGEST + 1));
        }
        let mut text = piece.bytes;
        if let Some(stamp) = &mut pending.stamp {
            let room = timestamp::LONGEST + 1 - stamp.len();
            let window = &text[..text.len().min(room)];
            let Some(space) = memchr::memchr(b' ', window) else {
                stamp.extend_from_slice(window);
                if piece.ends_frame || stamp.len() > timestamp::LONGEST {
                    return Err(no_time(stamp));
                }
                return Ok(());
            };
            stamp.extend_from_slice(&text[..space]);
            text = &text[space + 1..];
            let time = self.clock.parse(stamp).ok_or_else(|| no_time(stamp))?;
            pending.stamp = None;
            if pending.time.is_some_and(|first| first != time) {
                // The last line of an earlier run of the container never got its end.
                emit(pending, stream, out);
            }
            pending.time = Some(time);
        }
        let ended = piece.ends_frame && text.last() == Some(&b'\n');
        pending.push(&text[..text.len() - usize::from(ended)], self.max);
        if ended {
            emit(pending, stream, out);
        }
        Ok(())
    }

    /// Takes a stretch of a TTY's raw stream, in which nothing but line feeds tells one
    /// message from the next.
    pub fn raw(&mut self, mut input: &[u8], out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        // The times inside a long line are taken out only when it is whole.
        let max = self.max + self.max / PART * timestamp::PREFIX + 2 * timestamp::PREFIX;
        while let Some(end) = memchr::memchr(b'\n', input) {
            let (line, rest) = (&input[..end], &input[end + 1..]);
            input = rest;
            let mut pending = std::mem::take(&mut self.pending[0]);
            if pending.bytes.is_empty() && !pending.cut {
                self.raw_line(line, false, out)?;
            } else {
                pending.push(line, max);
                self.raw_line(&pending.bytes, pending.cut, out)?;
            }
            pending.clear();
            self.pending[0] = pending;
        }
        let pending = &mut self.pending[0];
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
            (None, Some(last)) => (last, line),
            (None, None) => return Err(no_time(line)),
        };
        let mut merged: Vec<u8> = Vec::new();
        let mut from = 0;
        // Other times can sit inside: that of a further part of a long line, or that of the
        // next line after one that never got its end, when the container was restarted
        // (loki#12197). A time that the container printed itself is earlier than the
        // engine's of the same line, or still to come, and stays.
        while let Some((at, next)) = timestamp::find(&mut self.clock, &text[from..]) {
            let at = from + at;
            if next == time && at == PART {
                merged.extend_from_slice(&text[..at]);
            } else if next > time && next <= Time::now() {
                merged.extend_from_slice(&text[..at]);
                out(whole(time, Stream::Stdout, &merged, self.max));
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
        // A terminal ends its lines with CR LF (termios ONLCR).
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let mut line = whole(time, Stream::Stdout, text, self.max);
        line.truncated |= cut;
        out(line);
        Ok(())
    }

    /// The stream has ended, and the container with it: what has no line feed yet will never
    /// get one.
    pub fn finish(&mut self, tty: bool, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        if tty {
            let mut pending = std::mem::take(&mut self.pending[0]);
            if !pending.bytes.is_empty() {
                self.raw_line(&pending.bytes, pending.cut, out)?;
            }
            pending.clear();
            return Ok(());
        }
        for stream in Stream::ALL {
            let pending = &mut self.pending[stream as usize];
            pending.stamp = None;
            if pending.time.is_some() {
                emit(pending, stream, out);
            }
        }
        Ok(())
    }

    fn engine_error(&mut self, piece: Piece<'_>) -> Result<(), DecodeError> {
        let room = ENGINE_TEXT - self.engine_text.len();
        let part = &piece.bytes[..piece.bytes.len().min(room)];
        self.engine_text.extend_from_slice(part);
        if !piece.ends_frame {
            return Ok(());
        }
        let text = std::mem::take(&mut self.engine_text);
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(DecodeError::Engine(text))
    }
}

fn whole(time: Time, stream: Stream, bytes: &[u8], max: usize) -> Line<'_> {
    Line {
        time,
        stream,
        bytes: &bytes[..bytes.len().min(max)],
        truncated: bytes.len() > max,
    }
}

fn emit(pending: &mut Pending, stream: Stream, out: &mut impl FnMut(Line<'_>)) {
    if let Some(time) = pending.time {
        out(Line {
            time,
            stream,
            bytes: &pending.bytes,
            truncated: pending.cut,
        });
    }
    pending.clear();
}

/// Shows the start of what came, and no more: it may be anything.
fn no_time(message: &[u8]) -> DecodeError {
    let head = &message[..message.len().min(40)];
    DecodeError::NoTime(String::from_utf8_lossy(head).into_owned())
}
