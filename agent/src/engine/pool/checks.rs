//! When an idle connection is pinged, and when it is taken for healthy: pure.

use std::time::Duration;

use tokio::time::Instant;

use super::pooled::Pooled;

#[derive(Clone, Copy, Debug)]
pub struct Checks {
    pub interval: Duration,
    pub timeout: Duration,
    pub unhealthy_after: u32,
}

impl Checks {
    pub fn is_healthy(&self, pooled: &Pooled) -> bool {
        pooled.failures < self.unhealthy_after
    }

    pub fn is_due(&self, pooled: &Pooled, now: Instant) -> bool {
        let after = if pooled.failures == 0 {
            self.interval
        } else {
            self.timeout
        };
        pooled.checked.is_none_or(|at| now - at >= after)
    }
}
