//! Where a follower's output is read from.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ChildStdout;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::tally::Tally;

pub enum Output {
    File(File),
    Pipe(ChildStdout),
}

/// One output, read to where it is for now.
pub struct Source {
    output: Output,
    buffer: Vec<u8>,
    /// So much of the buffer was read before, and is to be looked at again.
    pending: usize,
}

impl Source {
    pub fn new(output: Output) -> Result<Self> {
        if let Output::Pipe(pipe) = &output {
            fcntl_setfl(pipe, fcntl_getfl(pipe)? | OFlags::NONBLOCK)?;
        }
        Ok(Self {
            output,
            buffer: vec![0; 256 << 10],
            pending: 0,
        })
    }

    /// To wait on; a file is always ready.
    pub fn pipe(&self) -> Option<BorrowedFd<'_>> {
        match &self.output {
            Output::File(_) => None,
            Output::Pipe(pipe) => Some(pipe.as_fd()),
        }
    }

    /// Reads all there is, and gives whether that was anything.
    pub fn read(&mut self, tally: &mut Tally) -> Result<bool> {
        let mut any = false;
        loop {
            let (read, now) = match &mut self.output {
                Output::File(file) => (file.read(&mut self.buffer[self.pending..]), None),
                Output::Pipe(pipe) => {
                    let read = pipe.read(&mut self.buffer[self.pending..]);
                    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
                    (read, Some(u64::try_from(now.as_nanos())?))
                }
            };
            let read = match read {
                Ok(0) => return Ok(any),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error.into()),
            };
            any = true;
            let filled = self.pending + read;
            let done = tally.take(&self.buffer[..filled], now);
            self.buffer.copy_within(done..filled, 0);
            self.pending = filled - done;
        }
    }
}
