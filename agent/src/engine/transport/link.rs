//! A descriptor that is connected, or about to be, and its place in the register.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::register::{Entry, Inode};

/// Owns the descriptor. Dropping it closes the connection and strikes it out of the
/// register, whoever held it and why ever it went: there is no other way to close one.
#[derive(Debug)]
pub struct Link {
    // Dropped in this order: closed first, struck out after.
    stream: Stream,
    entry: Entry,
}

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Link {
    pub fn unix(stream: UnixStream, entry: Entry) -> Self {
        let stream = Stream::Unix(stream);
        Self { stream, entry }
    }

    pub fn tcp(stream: TcpStream, entry: Entry) -> Self {
        let stream = Stream::Tcp(stream);
        Self { stream, entry }
    }

    pub fn inode(&self) -> Inode {
        self.entry.inode()
    }

    /// Told to the register: whether reading stands still because the sinks have no room.
    pub fn waits_for_room(&self, waits: bool) {
        self.entry.waits_for_room(waits);
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = match &mut this.stream {
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before {
            this.entry.eof_read();
        }
        read
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    /// A socket has nothing to flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Never half-closed: Go's server takes that as a client that has gone. The drop closes.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
