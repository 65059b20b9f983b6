//! An open log, wherever it is read from.

use std::future::poll_fn;
use std::task::{Context, Poll};

use super::fault::Fault;
use super::mark::Mark;
use crate::record::{Line, Time};

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes; the lines in them have been lent.
    Read(usize),
    /// The log has ended, for now. Nothing says why.
    Ended,
}

/// Something is wrong with a log that can be read on all the same. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Some bytes are not records.
    Damaged {
        /// Where they begin in the file.
        offset: u64,
        /// How many they are.
        bytes: u64,
    },
    /// The file was truncated, or written anew, by somebody else than the engine.
    Truncated,
    /// Files may have been removed before they were read.
    FilesMissing,
}

/// An open log.
pub trait Log {
    /// Whether the engine waits while nothing is read.
    const HOLDS_UP: bool;

    /// Ready when there is something to read *and* `room` for it, which is told in bytes of the log, and lends each line that
    /// it completes to `out`. Nothing is read that is not lent.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: impl FnOnce(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Poll<Result<Progress, Fault>>;

    /// Waits for [`Log::poll_read`].
    fn read(
        &mut self,
        mut room: impl FnMut(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> impl Future<Output = Result<Progress, Fault>> {
        poll_fn(move |cx| self.poll_read(cx, &mut room, out))
    }

    /// The earliest time of a line that has begun and not ended.
    fn pending_since(&self) -> Option<Time>;

    /// Lends the lines that never got their line feed: the container has ended.
    fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), Fault>;

    /// A place before which nothing is needed to go on from here, where the source knows such places.
    fn mark(&self) -> Option<Mark> {
        None
    }

    /// What was wrong since this was asked last.
    fn trouble(&mut self) -> Option<Trouble> {
        None
    }
}
