//! When an idle connection is pinged, and when it is taken for healthy: pure.

use std::time::Duration;

use tokio::time::Instant;

use super::pooled::Pooled;

/// How idle connections are pinged: `docker.health`.
#[derive(Clone, Copy, Debug)]
pub struct Checks {
    /// How long a connection may be silent before it is pinged.
    pub interval: Duration,
    /// How long to wait for the answer to a ping, and then for another attempt.
    pub timeout: Duration,
    /// How many pings must fail in a row before a connection is unhealthy.
    pub unhealthy_after: u32,
}

impl Checks {
    /// Whether a connection may be lent.
    pub fn is_healthy(&self, pooled: &Pooled) -> bool {
        pooled.failures < self.unhealthy_after
    }

    /// Whether it is time for a ping.
    pub fn is_due(&self, pooled: &Pooled, now: Instant) -> bool {
        let after = if pooled.failures == 0 {
            self.interval
        } else {
            self.timeout
        };
        pooled.checked.is_none_or(|at| now - at >= after)
    }
}
