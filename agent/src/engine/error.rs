//! What can go wrong between the agent and the engine.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::decode::DecodeError;

/// A request, or a stream, that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No connection could be opened.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The name of the engine's host leads to no address.
    #[error("cannot find the address of the engine's host: {0}")]
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
    /// All connections for short requests are in use.
    #[error("no connection became free within {limit:?}")]
    NoneFree {
        /// The time that the request has waited.
        limit: Duration,
    },
    /// The request would have waited too long for its turn. The engine was not asked.
    #[error("more requests wait than the rate limit lets through within {max_wait:?}")]
    RateLimited {
        /// How long a request may wait.
        max_wait: Duration,
    },
    /// The circuit breaker is open. The engine was not asked.
    #[error("the circuit breaker is open: {cause}")]
    BreakerOpen {
        /// When the breaker lets the next request through.
        retry_in: Duration,
        /// The failure that opened it, in words.
        cause: String,
    },
    /// The answer is not HTTP.
    #[error("the peer does not speak HTTP as an engine does: {}", chain(.0))]
    Http(#[from] hyper::Error),
    /// The connection ended before the answer's head was whole.
    #[error("the engine closed the connection")]
    Closed,
    /// The engine answered with a status that is not success.
    #[error("engine answered {status}: {message}")]
    Status {
        /// The status of the answer.
        status: u16,
        /// The engine's own words, from the answer's body.
        message: String,
    },
    /// The answer is not JSON, or not of the expected shape.
    #[error("cannot read the engine's answer to {endpoint}: {source}")]
    Json {
        /// What was asked, as the label `endpoint` has it.
        endpoint: &'static str,
        /// Where it is wrong, and how.
        source: serde_json::Error,
    },
    /// The answer's body is larger than the agent is willing to read.
    #[error("the answer to {endpoint} is larger than {limit} bytes")]
    TooLarge {
        /// What was asked, as the label `endpoint` has it.
        endpoint: &'static str,
        /// The largest body that is read, in bytes.
        limit: usize,
    },
    /// Neither of the two paths by which an engine tells its version is answered as an engine answers it.
    #[error("the engine tells its version nowhere. /_ping: {ping}. /version: {version}")]
    NoVersion {
        /// What is wrong with the one.
        ping: Box<EngineError>,
        /// What is wrong with the other.
        version: Box<EngineError>,
    },
    /// The peer is not a Docker Engine, or not one that this agent can talk to. The text says why.
    #[error("{0}")]
    NoEngine(String),
    /// A read has failed.
    #[error("cannot read from the engine: {0}")]
    Read(#[from] io::Error),
    /// The connection ended in the middle of a body.
    #[error("the engine's stream was cut off")]
    Cut,
    /// The bytes of a log cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// A TLS connection that failed for its certificates, or for what is said in place of TLS.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct TlsError {
    /// A label, see [`EngineError::reason`].
    pub reason: &'static str,
    pub message: String,
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

/// Whether the process, or the host, may open no more.
pub(super) fn is_of_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

impl EngineError {
    /// The status that the engine answered, if it came that far.
    pub fn status(&self) -> Option<u16> {
        match self {
            EngineError::Status { status, .. } => Some(*status),
            EngineError::NoVersion { version, .. } => version.status(),
            _ => None,
        }
    }

    /// Whether the agent has no descriptor left for a connection: its own want, and no fault of the engine.
    pub fn is_of_descriptors(&self) -> bool {
        match self {
            EngineError::Connect(error) | EngineError::Resolve(error) => is_of_descriptors(error),
            _ => false,
        }
    }

    /// Whether this says something of the engine as a whole, and not of one request.
    pub fn engine_is_away(&self) -> bool {
        if self.is_of_descriptors() {
            return false;
        }
        matches!(
            self,
            EngineError::Connect(_)
                | EngineError::Resolve(_)
                | EngineError::Tls(_)
                | EngineError::Timeout { .. }
                | EngineError::Closed
                | EngineError::BreakerOpen { .. }
        )
    }

    /// Whether a request that can be repeated has a better chance soon: no answer has come, or one that says that the
    /// engine cannot serve anybody just now. A timeout has cost enough already.
    pub fn may_pass_soon(&self) -> bool {
        match self {
            EngineError::Connect(error) | EngineError::Resolve(error) => error.kind() != io::ErrorKind::TimedOut,
            EngineError::Closed => true,
            EngineError::Status { status, .. } => matches!(status, 500 | 502..=504),
            _ => false,
        }
    }

    /// The `reason` label of `docker_http_errors_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            EngineError::Connect(_) if self.is_of_descriptors() => "descriptors",
            EngineError::Connect(_) => "connect",
            EngineError::Resolve(_) => "resolve",
            EngineError::Tls(error) => error.reason,
            EngineError::Timeout { .. } => "timeout",
            EngineError::NoneFree { .. } => "pool_full",
            EngineError::RateLimited { .. } => "rate_limit",
            EngineError::BreakerOpen { .. } => "breaker_open",
            EngineError::Http(_) | EngineError::NoEngine(_) | EngineError::NoVersion { .. } => "protocol",
            EngineError::Closed | EngineError::Cut => "closed",
            EngineError::Status { .. } => "status",
            EngineError::Json { .. } => "json",
            EngineError::TooLarge { .. } => "too_large",
            EngineError::Read(_) => "read",
            EngineError::Decode(_) => "decode",
        }
    }
}
