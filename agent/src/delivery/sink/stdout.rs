//! Standard output: often a pipe, and a slow one.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Sink;

/// Writes straight to the descriptor: `std::io::Stdout` would search every batch for line
/// feeds and cut it there.
#[derive(Debug, Default)]
pub struct Stdout;

impl Sink for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = io::stdout();
        loop {
            match rustix::io::write(&stdout, bytes) {
                // Whoever started us can have made the pipe non-blocking.
                Err(Errno::AGAIN) => {
                    let mut ready = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::OUT)];
                    poll(&mut ready, None)?;
                }
                Err(Errno::INTR) => {}
                written => return Ok(written?),
            }
        }
    }

    /// A reader that has gone does not come back.
    fn is_fatal(&self, error: &io::Error) -> bool {
        matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
            || error.raw_os_error() == Some(Errno::BADF.raw_os_error())
    }
}
