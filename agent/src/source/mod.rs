//! Where a container's lines come from. What reads them sees no HTTP status and no file: a stream that lends lines, and
//! faults of three kinds.
//!
//! | file | what is in it |
//! |---|---|
//! | `api` | the engine's API: a connection for each log that is read |
//! | `log` | an open log, whichever it is |
//! | `mark` | a place in a log's files, from which reading can go on |
//! | `files` | the files that the engine's log drivers write |
//! | `mark` | a place in files, from which reading can go on |
//! | `fault` | why a log cannot be opened, or not be read on |

mod api;
mod fault;
mod files;
mod log;
mod mark;

pub use api::Stream;
pub use fault::{Cause, Fault};
pub use files::{EVIDENCE, FileStream, Files, Found, NotHere, Watcher, path_of};
pub use log::{Log, Progress, Trouble};
pub use mark::Mark;

use crate::engine::Engine;
pub use crate::engine::Newest;
use crate::record::{ContainerId, Since, Until};
use crate::register::Site;

/// Opens containers' logs.
#[derive(Clone)]
pub struct Source {
    engine: Engine,
    /// `None`: only the API is asked.
    files: Option<Files>,
    /// Whether the API is asked where the files cannot be read.
    falls_back: bool,
    /// `capture.max_line_bytes`.
    max_line_bytes: usize,
}

impl Source {
    /// `max_line_bytes`: what a longer line is cut to.
    pub fn new(engine: Engine, files: Option<Files>, falls_back: bool, max_line_bytes: usize) -> Self {
        Self {
            engine,
            files,
            falls_back,
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

    /// Whether the API is asked where the files of a log cannot be read.
    pub fn falls_back(&self) -> bool {
        self.falls_back
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

    /// Whether the engine goes by the time where a log is followed: then it hides what a clock that was set back is on.
    pub async fn follows_by_time(&self) -> Result<bool, Fault> {
        Ok(self.engine.follows_by_time().await?)
    }

    /// What the last record of a container's log is.
    pub async fn newest(&self, id: &ContainerId) -> Result<Newest, Fault> {
        Ok(self.engine.newest(id).await?)
    }
}
