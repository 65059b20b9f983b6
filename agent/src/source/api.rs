//! A log that is followed through the engine's API.

use std::task::{Context, Poll};
use std::time::Instant;

use super::fault::Fault;
use super::log::{Log, Progress};
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
}

impl Log for Stream {
    /// Once the socket's buffer is full.
    const HOLDS_UP: bool = true;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: impl FnOnce(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Poll<Result<Progress, Fault>> {
        let read = self.0.poll_read(cx, room, out);
        read.map_ok(|progress| match progress {
            engine::Progress::Read(bytes) => Progress::Read(bytes),
            engine::Progress::Ended => Progress::Ended,
        })
        .map_err(Fault::from)
    }

    fn pending_since(&self) -> Option<Time> {
        self.0.pending_since()
    }

    fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), Fault> {
        self.0.finish(out).map_err(Fault::from)
    }
}
