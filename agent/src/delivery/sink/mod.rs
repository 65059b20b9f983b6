//! Where records go. A sink writes bytes; batching, retrying and counting are delivery's.

mod file;
mod stdout;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use serde_json::Value;

pub use file::File;
pub use stdout::Stdout;

/// A place to write to.
pub trait Sink: Send {
    /// A batch of whole records begins.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Writes some of `bytes` and tells how many, as `write(2)` does. May block.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// A write of `batch` has failed or was short after so many bytes. Gives the number of bytes after which to go on: fewer,
    /// where what was written went to a place that is not written to any more.
    fn resume(&mut self, _batch: &[u8], written: usize) -> io::Result<usize> {
        Ok(written)
    }

    /// Whether an error means that no later attempt can succeed.
    fn is_fatal(&self, error: &io::Error) -> bool;

    /// Opens anew what it writes to, if that is another by now.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// How far it is written, for a sink that can tell after a crash what it got behind that.
    fn mark(&mut self) -> io::Result<Option<Mark>> {
        Ok(None)
    }

    /// Before the first batch: lends every whole record that was written behind the mark `from`, and takes away a record that
    /// was only begun. Without `from` only the latter.
    fn recover(&mut self, _from: Option<&Value>, _record: &mut dyn FnMut(Recovered<'_>)) -> io::Result<()> {
        Ok(())
    }
}

/// A whole record that a sink has got behind a mark.
#[derive(Clone, Copy, Debug)]
pub struct Recovered<'a> {
    /// The record, with its line feed.
    pub text: &'a [u8],
    /// Other records came between the mark and this one, and are elsewhere by now: the file was truncated, for example.
    pub after_hole: bool,
}

/// How far a sink has got.
#[derive(Debug, Default)]
pub struct Mark {
    /// What the sink is to be told by [`Sink::recover`].
    pub saved: Value,
    /// What the sink has that the saved position does not know.
    pub had: Value,
    /// What must be on the disk before the mark is.
    pub written: Option<Arc<dyn Durable>>,
}

/// What a power loss could take away.
pub trait Durable: Debug + Send + Sync {
    /// Waits until it could not any more. By another thread than the sink's.
    fn sync(&self) -> io::Result<()>;
}
