//! A log that is followed through the engine's API.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Instant;

use super::{Fault, Progress};
use crate::engine::{self, LogStream};
use crate::record::{Line, Time};
use crate::register::Inode;

/// An open log. It owns its connection: dropping it, at whatever `await`, closes that.
#[derive(Debug)]
pub struct Stream(LogStream);

impl Stream {
    pub(super) fn new(stream: LogStream) -> Self {
        Self(stream)
    }

    /// The socket's inode, by which the kernel is asked whether it is gone.
    pub fn inode(&self) -> Inode {
        self.0.inode()
    }

    /// When its connection was opened.
    pub fn opened(&self) -> Instant {
        self.0.opened()
    }

    /// Ready when there is something to read *and* `room` for it, and lends each line that it completes to `out`. Nothing is
    /// read that is not lent.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: impl FnOnce(&mut Context<'_>) -> Poll<()>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Poll<Result<Progress, Fault>> {
        let read = self.0.poll_read(cx, room, out);
        read.map_ok(|progress| match progress {
            engine::Progress::Read(bytes) => Progress::Read(bytes),
            engine::Progress::Ended => Progress::Ended,
        })
        .map_err(Fault::from)
    }

    /// Waits for [`Stream::poll_read`].
    pub async fn read(
        &mut self,
        mut room: impl FnMut(&mut Context<'_>) -> Poll<()>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Result<Progress, Fault> {
        poll_fn(|cx| self.poll_read(cx, &mut room, out)).await
    }

    /// The earliest time of a line that has begun and not ended.
    pub fn pending_since(&self) -> Option<Time> {
        self.0.pending_since()
    }

    /// Lends the lines that never got their line feed: the container has ended.
    pub fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), Fault> {
        self.0.finish(out).map_err(Fault::from)
    }
}
