//! Where a container's lines come from. What reads them sees no HTTP status and no file: a stream that lends lines, and
//! faults of three kinds.
//!
//! | file | what is in it |
//! |---|---|
//! | `api` | the engine's API: a connection for each log that is read |
//! | `files` | the files that the engine's log drivers write |
//! | `fault` | why a log cannot be opened, or not be read on |

mod api;
mod fault;
mod files;

use std::future::poll_fn;
use std::task::{Context, Poll};

pub use api::Stream;
pub use fault::{Cause, Fault};
pub use files::{EVIDENCE, FileStream, Files, Found, Mark, NotHere, Watcher};

use crate::engine::Engine;
use crate::record::{ContainerId, Line, Since, Time, Until};
use crate::register::Site;

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
    /// So many bytes at an offset are no records.
    Damaged { offset: u64, bytes: u64 },
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

/// Opens containers' logs.
#[derive(Clone)]
pub struct Source {
    engine: Engine,
    /// `None`: only the API is asked.
    files: Option<Files>,
    /// `capture.max_line_bytes`.
    max_line_bytes: usize,
}

impl Source {
    /// `max_line_bytes`: what a longer line is cut to.
    pub fn new(engine: Engine, files: Option<Files>, max_line_bytes: usize) -> Self {
        Self {
            engine,
            files,
            max_line_bytes,
        }
    }

    /// Another engine may answer by now: it is asked where its files are.
    pub async fn meet(&self) {
        if let Some(files) = self.files.as_ref().filter(|files| files.wants_root()) {
            match self.engine.data_root().await {
                Ok(root) => files.set_root(root),
                Err(error) => tracing::warn!(%error, "the engine does not tell where its files are"),
            }
        }
    }

    /// The files of a container's log, where it can be read from them.
    pub fn files(&self, id: &ContainerId) -> Result<Found, NotHere> {
        self.files.as_ref().ok_or(NotHere::NotWanted)?.find(id)
    }

    /// Bytes on the disk that are there only because a log is open.
    pub fn held(&self) -> u64 {
        self.files.as_ref().map_or(0, Files::held)
    }

    /// Opens a container's log.
    pub async fn open(&self, id: &ContainerId, site: Site, since: Since, until: Until) -> Result<Stream, Fault> {
        let stream = self.engine.logs(id, site, since, until, self.max_line_bytes).await?;
        Ok(Stream::new(stream))
    }

    /// The time of the last record of a container's log; `None` where there is no record, or none that can be read.
    pub async fn newest(&self, id: &ContainerId) -> Result<Option<Time>, Fault> {
        Ok(self.engine.newest(id).await?)
    }
}
