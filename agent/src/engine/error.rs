//! What can go wrong between the agent and the engine.

use std::io;

use super::guard::Refusal;
use super::transport::{Answer, TransportError};
use crate::decode::DecodeError;

/// A request, or a stream, that failed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The connection has failed, or the request over it.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The agent has held the request back.
    #[error(transparent)]
    Refused(#[from] Refusal),
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
    /// The bytes of a log cannot be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl EngineError {
    /// What an answer with a status that is not success tells. `path` is what was asked.
    pub(super) fn of_answer(path: &str, answer: &Answer) -> Self {
        EngineError::Status {
            status: answer.status,
            message: message(path, &answer.body),
        }
    }

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
        matches!(self, EngineError::Transport(error) if error.is_of_descriptors())
    }

    /// Whether the circuit breaker is open, so that the engine was not asked. The breaker itself has said why.
    pub fn is_of_breaker(&self) -> bool {
        matches!(self, EngineError::Refused(Refusal::BreakerOpen { .. }))
    }

    /// Whether this says something of the engine as a whole, and not of one request.
    pub fn engine_is_away(&self) -> bool {
        match self {
            EngineError::Transport(error) => {
                !error.is_of_descriptors()
                    && matches!(
                        error,
                        TransportError::Connect(_)
                            | TransportError::Resolve(_)
                            | TransportError::Tls(_)
                            | TransportError::Timeout { .. }
                            | TransportError::Closed
                    )
            }
            error => error.is_of_breaker(),
        }
    }

    /// Whether a request that can be repeated has a better chance soon: no answer has come, or one that says that the
    /// engine cannot serve anybody just now. A timeout has cost enough already.
    pub fn may_pass_soon(&self) -> bool {
        match self {
            EngineError::Transport(TransportError::Connect(error) | TransportError::Resolve(error)) => {
                error.kind() != io::ErrorKind::TimedOut
            }
            EngineError::Transport(TransportError::Closed) => true,
            EngineError::Status { status, .. } => matches!(status, 500 | 502..=504),
            _ => false,
        }
    }

    /// The `reason` label of `docker_http_errors_total`.
    pub fn reason(&self) -> &'static str {
        match self {
            EngineError::Transport(error) => error.reason(),
            EngineError::Refused(refusal) => refusal.reason(),
            EngineError::NoEngine(_) | EngineError::NoVersion { .. } => "protocol",
            EngineError::Status { .. } => "status",
            EngineError::Json { .. } => "json",
            EngineError::TooLarge { .. } => "too_large",
            EngineError::Decode(_) => "decode",
        }
    }
}

/// What was asked, and the engine's words on it. They are `{"message": "..."}`; a peer that is no engine sends anything.
fn message(path: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(known) => known.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let short: String = text.trim().chars().take(300).collect();
    // The query says where to begin, and is another one each time.
    let path = path.split('?').next().unwrap_or_default();
    format!("{} (GET {path})", short.replace(char::is_control, " "))
}
