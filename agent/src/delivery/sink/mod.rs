//! Where records go. A sink writes bytes; batching, retrying and counting are delivery's.

mod file;
mod file_end;
mod stdout;

use std::io;

pub use file::File;
pub use file_end::FileEnd;
pub use stdout::Stdout;

/// A place to write to.
pub trait Sink: Send {
    /// The `sink` label of its metrics.
    fn name(&self) -> &str;

    /// A batch of whole records begins. May be called again for the same one.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Writes some of `bytes` and tells how many, as `write(2)` does. May block.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Whether an error means that no later attempt can succeed.
    fn is_fatal(&self, error: &io::Error) -> bool;

    /// For a file: how far it is written.
    fn end(&self) -> Option<FileEnd> {
        None
    }
}
