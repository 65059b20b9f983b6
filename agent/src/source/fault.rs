//! Why a container's log cannot be opened, or not be read on.

use std::fmt;

use crate::decode::DecodeError;
use crate::engine::EngineError;

/// The three kinds that a reader of logs can do something about.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The container is not there any more, or is being removed, and its log with it.
    #[error("{0}")]
    Gone(Cause),
    /// This container's log cannot be read, and never will be until it is recreated.
    #[error("{0}")]
    Unreadable(Cause),
    /// To be tried again.
    #[error("{0}")]
    Broken(Cause),
}

/// What is wrong, in words and as a label.
#[derive(Debug)]
pub struct Cause {
    text: String,
    error_type: &'static str,
    concerns_all: bool,
}

impl Cause {
    /// `error_type` is a label of `stream_errors_total`.
    pub fn new(text: String, error_type: &'static str) -> Self {
        Self {
            text,
            error_type,
            concerns_all: false,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Fault {
    fn cause(&self) -> &Cause {
        match self {
            Fault::Gone(cause) | Fault::Unreadable(cause) | Fault::Broken(cause) => cause,
        }
    }

    /// The `error_type` label of a stream that was open.
    pub fn error_type(&self) -> &'static str {
        self.cause().error_type
    }

    /// Whether it concerns every container alike, and is told once for all of them elsewhere.
    pub fn concerns_all(&self) -> bool {
        self.cause().concerns_all
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let cause = Cause {
            text: error.to_string(),
            error_type: match &error {
                EngineError::Decode(DecodeError::Engine(_)) => "engine_error",
                EngineError::Decode(_) => "malformed",
                _ => "read_failed",
            },
            concerns_all: error.engine_is_away(),
        };
        match error.status() {
            // 409: the container is dead, or marked for removal.
            Some(404 | 409) => Fault::Gone(cause),
            // The log driver cannot be read.
            Some(501) => Fault::Unreadable(cause),
            _ => Fault::Broken(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::TransportError;

    #[test]
    fn a_status_tells_what_can_be_done() {
        let of = |status| {
            let message = "no".to_owned();
            Fault::from(EngineError::Status { status, message })
        };
        assert!(matches!(of(404), Fault::Gone(_)));
        assert!(matches!(of(409), Fault::Gone(_)));
        assert!(matches!(of(501), Fault::Unreadable(_)));
        assert!(matches!(of(500), Fault::Broken(_)));
        assert!(!of(500).concerns_all());
        assert!(Fault::from(EngineError::from(TransportError::Closed)).concerns_all());
    }
}
