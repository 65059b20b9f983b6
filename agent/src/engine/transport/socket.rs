//! A connected socket of the engine's, in clear or by TLS.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::metrics::Metrics;
use super::link::Link;
use super::tls::{Cause, Session};
use crate::register::Inode;

/// Most that one read takes for hyper: heads and short answers.
const READ: usize = 8 * 1024;

/// How bytes are had from the descriptor.
#[derive(Debug)]
pub enum Io {
    Plain(Link),
    Tls(Box<Session>),
}

/// Owns the connection, see [`Link`]: dropping it closes the descriptor.
#[derive(Debug)]
pub struct Socket {
    io: Io,
    head: Option<HeadOnly>,
    /// Read from the socket and not yet given to a reader.
    leftover: Vec<u8>,
    opened: Instant,
    metrics: Arc<Metrics>,
}

impl Socket {
    pub fn new(io: Io, metrics: Arc<Metrics>) -> Self {
        Self {
            io,
            head: None,
            leftover: Vec::new(),
            opened: Instant::now(),
            metrics,
        }
    }

    pub fn inode(&self) -> Inode {
        self.link().inode()
    }

    fn link(&self) -> &Link {
        match &self.io {
            Io::Plain(link) => link,
            Io::Tls(session) => session.link(),
        }
    }

    /// Where it will be noted what a TLS connection fails for.
    pub fn cause(&self) -> Option<Cause> {
        match &self.io {
            Io::Plain(_) => None,
            Io::Tls(session) => Some(session.cause()),
        }
    }

    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// From now on hyper is shown the response's head and not its body, until the returned
    /// gate is opened.
    pub fn withhold_body(&mut self) -> Gate {
        let gate = Gate::default();
        self.head = Some(HeadOnly {
            gate: gate.clone(),
            matched: 0,
        });
        gate
    }

    /// Whether the end of the head has come by.
    pub fn head_is_whole(&self) -> bool {
        self.head.as_ref().is_some_and(HeadOnly::is_whole)
    }

    /// The body's first bytes, which came along with the head.
    pub fn take_leftover(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.leftover)
    }

    /// Reads straight from the socket into `buf`; what comes by TLS is decrypted into it.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(link) => Pin::new(link).poll_read(cx, buf),
            Io::Tls(session) => session.poll_read(cx, buf),
        }
    }

    /// Told to the register: whether reading stands still because the sinks have no room.
    pub fn waits_for_room(&self, waits: bool) {
        self.link().waits_for_room(waits);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let age = self.opened.elapsed();
        self.metrics.connection_seconds.observe(age.as_secs_f64());
    }
}

/// Opened when hyper shall read the body after all: the answer is not the stream asked for.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    pub fn open(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Finds the end of a response's head.
///
/// hyper parses heads, but its bodies cost an allocation a chunk, which is one a line. So
/// for a log stream hyper sees the head only, and the body stays for [`super::decode`].
#[derive(Debug)]
struct HeadOnly {
    gate: Gate,
    /// Bytes of `END` seen so far.
    matched: usize,
}

const END: &[u8; 4] = b"\r\n\r\n";

impl HeadOnly {
    fn is_whole(&self) -> bool {
        self.matched == END.len()
    }

    /// How many of `bytes` belong to the head.
    fn scan(&mut self, bytes: &[u8]) -> usize {
        for (at, &byte) in bytes.iter().enumerate() {
            if self.is_whole() {
                return at;
            }
            self.matched = if byte == END[self.matched] {
                self.matched + 1
            } else {
                usize::from(byte == END[0])
            };
        }
        bytes.len()
    }
}

impl Read for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, mut buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let withheld = match &this.head {
            Some(head) if !head.gate.is_open() => {
                if head.is_whole() {
                    // Whoever opens the gate polls again: no waker is needed.
                    return Poll::Pending;
                }
                true
            }
            _ => false,
        };
        if !withheld && !this.leftover.is_empty() {
            let take = this.leftover.len().min(buf.remaining());
            buf.put_slice(&this.leftover[..take]);
            this.leftover.drain(..take);
            return Poll::Ready(Ok(()));
        }
        // Not cleared beforehand: a peer that sends byte by byte would have all of it cleared for each.
        let mut bytes = [const { MaybeUninit::uninit() }; READ];
        let room = buf.remaining().min(READ);
        let mut read = ReadBuf::uninit(&mut bytes[..room]);
        ready!(this.poll_fill(cx, &mut read))?;
        let mut shown = read.filled();
        if let (true, Some(head)) = (withheld, &mut this.head) {
            let (head_part, body_part) = shown.split_at(head.scan(shown));
            this.leftover.extend_from_slice(body_part);
            shown = head_part;
        }
        buf.put_slice(shown);
        Poll::Ready(Ok(()))
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().io {
            Io::Plain(link) => Pin::new(link).poll_write(cx, buf),
            Io::Tls(session) => session.stream().poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().io {
            Io::Plain(link) => Pin::new(link).poll_flush(cx),
            Io::Tls(session) => session.stream().poll_flush(cx),
        }
    }

    /// Never half-closed: Go's server takes that as a client that has gone. The drop closes.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
