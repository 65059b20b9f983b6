//! Why a request was not sent.

use std::time::Duration;

/// A request that the agent's own bounds held back. The peer was not asked.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// All connections for short requests are in use.
    #[error("no connection became free within {limit:?}")]
    NoneFree {
        /// The time that the request has waited.
        limit: Duration,
    },
    /// The request would have waited too long for its turn.
    #[error("more requests wait than the rate limit lets through within {max_wait:?}")]
    RateLimited {
        /// How long a request may wait.
        max_wait: Duration,
    },
    /// The circuit breaker is open.
    #[error("the circuit breaker is open: {cause}")]
    BreakerOpen {
        /// When the breaker lets the next request through.
        retry_in: Duration,
        /// The failure that opened it, in words.
        cause: String,
    },
}

impl Refusal {
    /// One of a fixed set, for a label.
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::NoneFree { .. } => "pool_full",
            Refusal::RateLimited { .. } => "rate_limit",
            Refusal::BreakerOpen { .. } => "breaker_open",
        }
    }

    /// When the next request has a chance, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Refusal::BreakerOpen { retry_in, .. } => Some(*retry_in),
            _ => None,
        }
    }
}
