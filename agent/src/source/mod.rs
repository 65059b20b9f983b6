//! Where a container's lines come from. What reads them sees no HTTP status and no file: a stream that lends lines, and
//! faults of three kinds.
//!
//! | file | what is in it |
//! |---|---|
//! | `api` | the engine's API: a connection for each log that is read |
//! | `fault` | why a log cannot be opened, or not be read on |

mod api;
mod fault;

pub use api::Stream;
pub use fault::{Cause, Fault};

use crate::engine::Engine;
use crate::record::{ContainerId, Since, Time, Until};
use crate::register::Site;

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes; the lines in them have been lent.
    Read(usize),
    /// The log has ended, for now. Nothing says why.
    Ended,
}

/// Opens containers' logs.
#[derive(Clone)]
pub struct Source {
    engine: Engine,
    /// `capture.max_line_bytes`.
    max_line_bytes: usize,
}

impl Source {
    /// `max_line_bytes`: what a longer line is cut to.
    pub fn new(engine: Engine, max_line_bytes: usize) -> Self {
        Self { engine, max_line_bytes }
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
