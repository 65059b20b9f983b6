//! One container's log, followed over one connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::ReadBuf;

use super::connection::RawBody;
use super::decode::Decoder;
use super::error::EngineError;
use super::socket::Socket;
use crate::record::{Line, Time};
use crate::register::Inode;

/// Bytes of one read: more than a unix socket's buffer holds (`net.core.wmem_default`).
const READ: usize = 256 * 1024;

thread_local! {
    /// Where every stream of the thread reads into. Lines are encoded from here before the
    /// next read, so one buffer serves all streams, and an idle stream has none.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes off the socket; the lines in them have been lent.
    Read(usize),
    /// The engine ended the stream itself. It says nothing of why.
    Ended,
}

/// An open log stream. It owns its connection: dropping it, at whatever `await`, closes
/// response, descriptor and register entry together.
#[derive(Debug)]
pub struct LogStream {
    socket: Socket,
    decoder: Decoder,
    /// The body's first bytes, which came along with the head.
    leftover: Vec<u8>,
}

impl LogStream {
    pub fn new(body: RawBody, max_line_bytes: usize) -> Self {
        let RawBody { mut socket, transfer } = body;
        Self {
            leftover: socket.take_leftover(),
            socket,
            decoder: Decoder::new(transfer, max_line_bytes),
        }
    }

    pub fn inode(&self) -> Inode {
        self.socket.inode()
    }

    pub fn opened(&self) -> Instant {
        self.socket.opened()
    }

    /// Waits until there is something to read *and* `room` for it, and lends each line that
    /// it completes to `out`. Cancel-safe: nothing is read that is not lent.
    pub async fn read(
        &mut self,
        mut room: impl FnMut(&mut Context<'_>) -> Poll<()>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Result<Progress, EngineError> {
        poll_fn(|cx| {
            if self.decoder.has_ended() {
                return Poll::Ready(self.end());
            }
            let room = room(cx);
            self.socket.waits_for_room(room.is_pending());
            ready!(room);
            if !self.leftover.is_empty() {
                let bytes = std::mem::take(&mut self.leftover);
                self.decoder.feed(&bytes, out)?;
                return Poll::Ready(Ok(Progress::Read(bytes.len())));
            }
            BUFFER.with_borrow_mut(|buffer| {
                let mut read = ReadBuf::new(buffer);
                ready!(self.socket.poll_fill(cx, &mut read))?;
                let bytes = read.filled();
                if !bytes.is_empty() {
                    self.decoder.feed(bytes, out)?;
                    Poll::Ready(Ok(Progress::Read(bytes.len())))
                } else {
                    Poll::Ready(self.end())
                }
            })
        })
        .await
    }

    /// Nothing more comes.
    fn end(&self) -> Result<Progress, EngineError> {
        if self.decoder.is_complete() {
            Ok(Progress::Ended)
        } else {
            Err(EngineError::Cut)
        }
    }

    /// The earliest time of a line that has begun and not ended.
    pub fn pending_since(&self) -> Option<Time> {
        self.decoder.pending_since()
    }

    /// Lends the lines that never got their line feed: the container has ended.
    pub fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), EngineError> {
        Ok(self.decoder.finish(out)?)
    }
}
