//! Messages to lines, as plainly as can be.

use log_capturer::record::{Stream, Time};

/// A line with its time and stream, and whether it was cut.
pub(crate) type Got = (Time, Stream, Vec<u8>, bool);

/// Where `copier.go` cuts.
pub(crate) const PART: usize = 16 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub time: Time,
    pub stream: Stream,
    pub text: Vec<u8>,
    pub end: End,
    pub id: Id,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Line,
    Part,
    Unknown,
}

/// What the parts of one line have in common.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Id {
    /// Nothing.
    Unknown,
    /// It is a line by itself.
    Alone,
    Of(Vec<u8>),
}

/// Puts parts together.
pub(crate) struct Parts {
    max: usize,
    tty: bool,
    /// The parts of the line that has not ended, by stream.
    pending: [Vec<Message>; 2],
    lines: Vec<Got>,
}

impl Parts {
    pub(crate) fn new(max: usize, tty: bool) -> Self {
        Self {
            max,
            tty,
            pending: [Vec::new(), Vec::new()],
            lines: Vec::new(),
        }
    }

    pub(crate) fn take(&mut self, message: Message) {
        let stream = message.stream as usize;
        let pending = &self.pending[stream];
        let goes_on = |last: &Message| match &message.id {
            Id::Alone => false,
            Id::Of(_) => last.id == message.id,
            // Full ones go on. Others have one time, but where the format tells parts from lines.
            Id::Unknown => last.end == End::Part || last.text.len() >= PART || pending[0].time == message.time,
        };
        if pending.last().is_some_and(|last| !goes_on(last)) {
            self.end(stream);
        }
        let pending = &mut self.pending[stream];
        let follows_full = pending.last().is_some_and(|last| last.text.len() >= PART);
        let ends = match message.end {
            End::Line => true,
            End::Part => false,
            End::Unknown => follows_full && message.text.len() < PART,
        };
        pending.push(message);
        if ends {
            self.end(stream);
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Got> {
        for stream in Stream::ALL {
            self.end(stream as usize);
        }
        self.lines
    }

    fn end(&mut self, stream: usize) {
        let parts = std::mem::take(&mut self.pending[stream]);
        let Some(Message { time, stream, .. }) = parts.first().cloned() else {
            return;
        };
        let mut text: Vec<u8> = parts.into_iter().flat_map(|part| part.text).collect();
        if self.tty && text.last() == Some(&b'\r') {
            text.pop();
        }
        let is_cut = text.len() > self.max;
        text.truncate(self.max);
        self.lines.push((time, stream, text, is_cut));
    }
}
