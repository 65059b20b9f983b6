//! A log driver's files to whole lines. Pure: what is read, and when, is its owner's business.

use super::json_file::JsonFile;
use super::k8s_file::K8sFile;
use super::local::Local;
use super::records::{Fed, Found, Reader};
use crate::record::Time;

/// How a driver writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Docker's `json-file`.
    JsonFile,
    /// Docker's `local`.
    Local,
    /// Podman's `k8s-file`, and what CRI runtimes write.
    K8sFile,
}

/// Decodes one container's log, from file to file as the driver rotates them.
///
/// It holds nothing but the parts of a line that has not ended. Bytes behind the last whole record stay in the file, and
/// must come again with what follows them.
#[derive(Debug)]
pub struct FileDecoder(Driver);

#[derive(Debug)]
enum Driver {
    JsonFile(Reader<JsonFile>),
    Local(Reader<Local>),
    K8sFile(Reader<K8sFile>),
}

/// Each driver has a loop of its own, so that the compiler can make one piece of the two.
macro_rules! each {
    ($decoder:expr, $reader:ident => $call:expr) => {
        match &mut $decoder.0 {
            Driver::JsonFile($reader) => $call,
            Driver::Local($reader) => $call,
            Driver::K8sFile($reader) => $call,
        }
    };
}

impl FileDecoder {
    /// Lines longer than `max_line_bytes` are cut there. No file tells whether the container has a TTY, whose lines end in
    /// a CR that is not the container's.
    pub fn new(format: Format, max_line_bytes: usize, tty: bool) -> Self {
        Self(match format {
            Format::JsonFile => Driver::JsonFile(Reader::new(max_line_bytes, tty)),
            Format::Local => Driver::Local(Reader::new(max_line_bytes, tty)),
            Format::K8sFile => Driver::K8sFile(Reader::new(max_line_bytes, tty)),
        })
    }

    /// Takes the bytes that the file has at `offset`, and lends what it finds in them. All decoders of a thread can share
    /// one `scratch`.
    ///
    /// Something is always taken of [`LONGEST`](super::LONGEST) bytes. So an owner with a smaller buffer needs a larger one
    /// when nothing of a full buffer is taken.
    pub fn feed(&mut self, offset: u64, input: &[u8], scratch: &mut Vec<u8>, out: &mut impl FnMut(Found<'_>)) -> Fed {
        each!(self, reader => reader.feed(offset, input, scratch, out))
    }

    /// The file will not grow any more, and `rest` is what is left of it. A line that has begun can go on in another file.
    pub fn end_file(
        &mut self,
        offset: u64,
        rest: &[u8],
        scratch: &mut Vec<u8>,
        out: &mut impl FnMut(Found<'_>),
    ) -> Fed {
        each!(self, reader => reader.end_file(offset, rest, scratch, out))
    }

    /// The container has ended: a line without a line feed will never get one.
    pub fn finish(&mut self, out: &mut impl FnMut(Found<'_>)) {
        each!(self, reader => reader.finish(out));
    }

    /// The earliest time of a line that has begun and not ended.
    pub fn pending_since(&self) -> Option<Time> {
        match &self.0 {
            Driver::JsonFile(reader) => reader.pending_since(),
            Driver::Local(reader) => reader.pending_since(),
            Driver::K8sFile(reader) => reader.pending_since(),
        }
    }
}

#[cfg(test)]
mod tests;
