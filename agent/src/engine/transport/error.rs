//! What can go wrong with a connection, and with where it leads.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// An address, or a file that it needs, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}")]
pub struct EndpointError {
    /// The key in the configuration, with dots.
    pub key: &'static str,
    /// What is wrong with that key's value, in words.
    pub message: String,
}

impl EndpointError {
    /// What is wrong with the value of a key.
    pub fn new(key: &'static str, message: String) -> Self {
        Self { key, message }
    }
}

/// The step of an answer that comes last.
pub(super) const BODY: &str = "reading the answer";

/// A connection, or a request over one, that failed before its answer was whole. What the peer is, an engine or a store, and
/// what its answers mean, is not known here.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection could be opened.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The name of the host leads to no address.
    #[error("cannot find the host's address: {0}")]
    Resolve(io::Error),
    /// A certificate was refused, by either side, or the peer does not speak TLS.
    #[error(transparent)]
    Tls(TlsError),
    /// A step took too long.
    #[error("{step} took longer than {limit:?}")]
    Timeout {
        /// The step, in words.
        step: &'static str,
        /// The time that it was given.
        limit: Duration,
    },
    /// What shall be sent makes no HTTP request.
    #[error("the request cannot be made: {0}")]
    Request(hyper::http::Error),
    /// The answer is not HTTP.
    #[error("the peer does not speak HTTP/1.1: {}", chain(.0))]
    Http(#[from] hyper::Error),
    /// The connection ended before the answer's head was whole.
    #[error("the peer closed the connection")]
    Closed,
    /// A read has failed.
    #[error("cannot read from the peer: {0}")]
    Read(#[from] io::Error),
    /// The connection ended in the middle of a body.
    #[error("the answer was cut off")]
    Cut,
    /// Whoever reads the body has no room for all of it.
    #[error("the answer is larger than is read")]
    TooLarge,
}

/// A TLS connection that failed for its certificates, or for what is said in place of TLS.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    /// A label, see [`TransportError::reason`].
    pub reason: &'static str,
    /// What is wrong, in words.
    pub message: String,
}

impl TransportError {
    /// Whether the head of an answer came, and its body did not in time.
    pub fn is_of_the_body(&self) -> bool {
        matches!(self, TransportError::Timeout { step: BODY, .. })
    }

    /// Whether the agent has no descriptor left for a connection: its own want, and no fault of the peer.
    pub fn is_of_descriptors(&self) -> bool {
        match self {
            TransportError::Connect(error) | TransportError::Resolve(error) => is_of_descriptors(error),
            _ => false,
        }
    }

    /// One of a fixed set, for a label.
    pub fn reason(&self) -> &'static str {
        match self {
            TransportError::Connect(_) if self.is_of_descriptors() => "descriptors",
            TransportError::Connect(_) => "connect",
            TransportError::Resolve(_) => "resolve",
            TransportError::Tls(error) => error.reason,
            TransportError::Timeout { .. } => "timeout",
            TransportError::Request(_) | TransportError::Http(_) => "protocol",
            TransportError::Closed | TransportError::Cut => "closed",
            TransportError::Read(_) => "read",
            TransportError::TooLarge => "too_large",
        }
    }
}

/// Whether the process, or the host, may open no more.
pub(super) fn is_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// An error with its causes: hyper tells what it was about, and its cause what was wrong.
fn chain(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
