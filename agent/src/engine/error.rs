//! What can go wrong between the agent and the engine.

use std::io;
use std::time::Duration;

use super::transport::TlsError;
use crate::decode::DecodeError;

/// A request, or a stream, that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("cannot find the address of the engine's host: {0}")]
    Resolve(io::Error),
    #[error(transparent)]
    Tls(TlsError),
    /// The step that ran out of time.
    #[error("{step} took longer than {limit:?}")]
    Timeout { step: &'static str, limit: Duration },
    /// All connections for short requests are in use.
    #[error("no connection became free within {limit:?}")]
    NoneFree { limit: Duration },
    #[error("more requests wait than the rate limit lets through within {max_wait:?}")]
    RateLimited { max_wait: Duration },
    /// Not asked at all.
    #[error("the circuit breaker is open: {cause}")]
    BreakerOpen { retry_in: Duration, cause: String },
    #[error("the peer does not speak HTTP as an engine does: {}", chain(.0))]
    Http(#[from] hyper::Error),
    #[error("the engine closed the connection")]
    Closed,
    #[error("engine answered {status}: {message}")]
    Status { status: u16, message: String },
    #[error("cannot read the engine's answer to {endpoint}: {source}")]
    Json {
        endpoint: &'static str,
        source: serde_json::Error,
    },
    #[error("the answer to {endpoint} is larger than {limit} bytes")]
    TooLarge { endpoint: &'static str, limit: usize },
    #[error("{0}")]
    NoEngine(String),
    #[error("cannot read from the engine: {0}")]
    Read(#[from] io::Error),
    #[error("the engine's stream was cut off")]
    Cut,
    #[error(transparent)]
    Decode(#[from] DecodeError),
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

impl EngineError {
    /// The status that the engine answered, if it came that far.
    pub fn status(&self) -> Option<u16> {
        match self {
            EngineError::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether this says something of the engine as a whole, and not of one request.
    pub fn engine_is_away(&self) -> bool {
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
            EngineError::Connect(_) => "connect",
            EngineError::Resolve(_) => "resolve",
            EngineError::Tls(error) => error.reason,
            EngineError::Timeout { .. } => "timeout",
            EngineError::NoneFree { .. } => "pool_full",
            EngineError::RateLimited { .. } => "rate_limit",
            EngineError::BreakerOpen { .. } => "breaker_open",
            EngineError::Http(_) | EngineError::NoEngine(_) => "protocol",
            EngineError::Closed | EngineError::Cut => "closed",
            EngineError::Status { .. } => "status",
            EngineError::Json { .. } => "json",
            EngineError::TooLarge { .. } => "too_large",
            EngineError::Read(_) => "read",
            EngineError::Decode(_) => "decode",
        }
    }
}
