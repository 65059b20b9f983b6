//! One container's log, followed over one connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::ReadBuf;

use super::error::EngineError;
use super::transport::RawBody;
use super::transport::{Socket, TransportError};
use crate::decode::Decoder;
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
/// response, descriptor and register entry together; so does reading its end.
#[derive(Debug)]
pub struct LogStream {
    /// Closed as soon as its end is read: its owner may have to wait before it knows what that end means.
    socket: Option<Socket>,
    inode: Inode,
    opened: Instant,
    decoder: Decoder,
    /// The body's first bytes, which came along with the head.
    leftover: Vec<u8>,
}

impl LogStream {
    /// Decodes the body of an answer. Lines longer than `max_line_bytes` are cut there.
    pub fn new(body: RawBody, max_line_bytes: usize) -> Self {
        let RawBody { mut socket, transfer } = body;
        Self {
            leftover: socket.take_leftover(),
            inode: socket.inode(),
            opened: socket.opened(),
            socket: Some(socket),
            decoder: Decoder::new(transfer, max_line_bytes),
        }
    }

    /// The inode of its connection's socket.
    pub fn inode(&self) -> Inode {
        self.inode
    }

    /// When its connection was opened.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Ready when there is something to read *and* `room` for it, and lends each line that it completes to `out`. Nothing is
    /// read that is not lent. `room` gives how many bytes may be read, one or more.
    pub fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: impl FnOnce(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Poll<Result<Progress, EngineError>> {
        let Some(socket) = self.socket.as_mut().filter(|_| !self.decoder.has_ended()) else {
            return Poll::Ready(self.end());
        };
        let room = room(cx);
        socket.waits_for_room(room.is_pending());
        let room = ready!(room);
        if !self.leftover.is_empty() {
            let rest = self.leftover.split_off(room.min(self.leftover.len()));
            let bytes = std::mem::replace(&mut self.leftover, rest);
            self.decoder.feed(&bytes, out)?;
            return Poll::Ready(Ok(Progress::Read(bytes.len())));
        }
        let Self { decoder, .. } = self;
        let read = BUFFER.with_borrow_mut(|buffer| {
            let most = room.min(buffer.len());
            let mut read = ReadBuf::new(&mut buffer[..most]);
            ready!(socket.poll_fill(cx, &mut read)).map_err(TransportError::Read)?;
            decoder.feed(read.filled(), out)?;
            Poll::Ready(Ok::<_, EngineError>(read.filled().len()))
        });
        Poll::Ready(match ready!(read) {
            Ok(0) => self.end(),
            Ok(bytes) => Ok(Progress::Read(bytes)),
            // By TLS, an end that the engine has not announced: whatever came before, it is not the log's.
            Err(EngineError::Transport(TransportError::Read(error))) if error.kind() == ErrorKind::UnexpectedEof => {
                self.socket = None;
                Err(TransportError::Cut.into())
            }
            Err(error) => Err(error),
        })
    }

    /// Waits for [`LogStream::poll_read`].
    pub async fn read(
        &mut self,
        mut room: impl FnMut(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Result<Progress, EngineError> {
        poll_fn(|cx| self.poll_read(cx, &mut room, out)).await
    }

    /// Nothing more comes.
    fn end(&mut self) -> Result<Progress, EngineError> {
        self.socket = None;
        if self.decoder.is_complete() {
            Ok(Progress::Ended)
        } else {
            Err(TransportError::Cut.into())
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
