//! A log driver's messages to whole lines.
//!
//! A driver cuts a long line into parts: Docker into parts of 16 KiB (`copier.go`), Podman wherever one read ended
//! (`conmon`). Parts of stdout and stderr can interleave, so each stream merges its own. A line that comes in one message
//! is lent from where it is; only parts are copied.

use crate::record::{Line, Stream, Time};

/// Where `copier.go` cuts a line that is longer.
pub(super) const PART: usize = 16 * 1024;
/// A buffer that grew beyond this for one long line is given back after it.
const KEEP: usize = 4 * 1024;

/// What a driver wrote at once: a line, or a part of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub time: Time,
    pub stream: Stream,
    /// Without the line feed.
    pub bytes: &'a [u8],
    /// What [`Line::escaped`] is.
    pub escaped: Option<&'a [u8]>,
    /// The driver says that a line begins here. Where it does not say, the times tell.
    pub begins: bool,
    pub end: End,
}

/// What is known of the line behind a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ends here.
    Line,
    /// It goes on, says the driver.
    Part,
    /// There is no line feed, and the driver does not say why. It is a part of a longer line, or the last line of a
    /// container that ended without a line feed. The next message of the stream tells.
    Open,
}

/// Merges parts, of each stream by itself.
#[derive(Debug)]
pub(super) struct Merge {
    max: usize,
    tty: bool,
    pending: [Pending; 2],
}

/// A line whose end has not come yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// That of the first part; `None` while no line has begun.
    pub time: Option<Time>,
    pub bytes: Vec<u8>,
    /// The length of the last part.
    part: usize,
    /// The part before it was full.
    follows_full: bool,
    /// The driver said that the line goes on.
    goes_on: bool,
    /// More came than was allowed.
    pub cut: bool,
}

impl Pending {
    /// Keeps up to `max` bytes.
    pub(super) fn push(&mut self, bytes: &[u8], max: usize) {
        let room = max.saturating_sub(self.bytes.len());
        self.cut |= bytes.len() > room;
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.part += bytes.len();
    }

    /// Whether a message of this time belongs to the same line. All parts of a line bear the first one's time, but for
    /// those that the `journald` driver gives back. A part that is not full is the last one: with another time it was
    /// the last line of an earlier run of the container, which never got its line feed.
    fn goes_on_with(&self, time: Time) -> bool {
        self.goes_on || self.part >= PART || self.time == Some(time)
    }

    pub(super) fn clear(&mut self) {
        self.time = None;
        self.part = 0;
        self.follows_full = false;
        self.goes_on = false;
        self.cut = false;
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }
}

impl Merge {
    /// Lines longer than `max` bytes are cut there. With `tty`, a line loses the CR that a terminal puts before the line
    /// feed (termios ONLCR).
    pub(super) fn new(max: usize, tty: bool) -> Self {
        Self {
            max,
            tty,
            pending: Default::default(),
        }
    }

    /// The earliest time of a line that has begun and not ended: a reader that resumes must read it again.
    pub(super) fn pending_since(&self) -> Option<Time> {
        self.pending.iter().filter_map(|pending| pending.time).min()
    }

    /// Takes a message that is whole.
    pub(super) fn message(&mut self, message: &Message<'_>, out: &mut impl FnMut(Line<'_>)) {
        let &Message {
            time,
            stream,
            bytes,
            escaped,
            begins,
            end,
        } = message;
        if begins {
            self.flush(stream, out);
        }
        if end == End::Line && self.pending[stream as usize].time.is_none() {
            let line = Line {
                time,
                stream,
                bytes,
                truncated: false,
                escaped,
            };
            return self.lend(line, out);
        }
        self.begin(time, stream, out);
        self.push(stream, bytes);
        self.end(stream, end, out);
    }

    /// A message begins, of which not all bytes are here yet.
    pub(super) fn begin(&mut self, time: Time, stream: Stream, out: &mut impl FnMut(Line<'_>)) {
        if !self.pending[stream as usize].goes_on_with(time) {
            self.flush(stream, out);
        }
        let pending = &mut self.pending[stream as usize];
        pending.time.get_or_insert(time);
        pending.follows_full = pending.part >= PART;
        pending.part = 0;
    }

    /// More bytes of the message that has begun.
    pub(super) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        // The CR behind a line of the longest length does not make it too long.
        let max = self.max + usize::from(self.tty);
        self.pending[stream as usize].push(bytes, max);
    }

    /// The message that has begun is whole.
    pub(super) fn end(&mut self, stream: Stream, end: End, out: &mut impl FnMut(Line<'_>)) {
        let pending = &mut self.pending[stream as usize];
        pending.goes_on = end == End::Part;
        // Behind full parts, one that is not full is the last one. Engine 20.10 leaves out its line feed where the driver
        // is `local`.
        let is_last = end == End::Open && pending.follows_full && pending.part < PART;
        if end == End::Line || is_last {
            self.flush(stream, out);
        }
    }

    /// Nothing more comes of the line that has begun on this stream, if one has.
    pub(super) fn flush(&mut self, stream: Stream, out: &mut impl FnMut(Line<'_>)) {
        // Taken out for the moment, as `lend` wants the rest.
        let mut pending = std::mem::take(&mut self.pending[stream as usize]);
        if let Some(time) = pending.time {
            let line = Line {
                time,
                stream,
                bytes: &pending.bytes,
                truncated: pending.cut,
                escaped: None,
            };
            self.lend(line, out);
        }
        pending.clear();
        self.pending[stream as usize] = pending;
    }

    /// The container has ended: what has no line feed yet will never get one.
    pub(super) fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) {
        for stream in Stream::ALL {
            self.flush(stream, out);
        }
    }

    fn lend(&self, mut line: Line<'_>, out: &mut impl FnMut(Line<'_>)) {
        if self.tty
            && let [text @ .., b'\r'] = line.bytes
        {
            line.bytes = text;
            line.escaped = line.escaped.and_then(|text| text.strip_suffix(b"\\r"));
        }
        if line.bytes.len() > self.max {
            line.bytes = &line.bytes[..self.max];
            line.truncated = true;
            line.escaped = None;
        }
        out(line);
    }
}
