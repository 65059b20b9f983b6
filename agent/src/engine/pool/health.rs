//! Pings over idle connections.
//!
//! HTTP/1.1 answers in order, so a connection whose ping is not answered can serve nobody else: it is isolated by that
//! alone. The one ping is waited for, and counts as failed once for each timeout that goes by. When it has failed often
//! enough the connection is unhealthy; it still has as long again to recover, then it is closed, and another replaces it.
//! Where the ping is answered with an error, the connection goes back and is pinged again, but lent only while healthy,
//! and is closed in the end like the others.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::pooled::Pooled;
use super::{Lease, Place, Pool};
use crate::engine::error::EngineError;
use crate::engine::transport::TransportError;

/// Longest answer that is read. A ping's is "OK"; where it is not allowed, the answer is a version.
const ANSWER: usize = 64 * 1024;

/// A connection taken out of the pool for a ping.
pub struct Check(Lease);

/// One connection less that is of use, for as long as it lives.
struct Isolated(Pool);

impl Isolated {
    fn new(pool: &Pool) -> Self {
        pool.0.state().isolated += 1;
        Self(pool.clone())
    }
}

impl Drop for Isolated {
    fn drop(&mut self) {
        self.0.0.state().isolated -= 1;
    }
}

impl Pool {
    /// The idle connections of which nothing has been heard for an interval, as far as there are places free for them.
    pub fn due(&self) -> Vec<Check> {
        let now = Instant::now();
        let is_due = |pooled: &Pooled| self.0.checks.is_due(pooled, now);
        let mut due = Vec::new();
        while self.0.state().idle.iter().any(is_due)
            && let Ok(permit) = Arc::clone(&self.0.places).try_acquire_owned()
        {
            let place = Place::new(permit, self);
            let pooled = {
                let mut state = self.0.state();
                let at = state.idle.iter().position(is_due);
                at.map(|at| state.idle.swap_remove(at))
            };
            if let Some(pooled) = pooled.filter(|pooled| pooled.is_fit(self.0.size.max_age)) {
                due.push(Check(Lease::new(pooled, place)));
            }
        }
        due
    }
}

impl Check {
    /// Puts the connection back as it was: it is due again at the next look.
    pub fn later(self) {
        let checked = self.0.pooled().checked;
        self.0.put_back(checked);
    }

    /// Pings; `heard` is told of each success and each failure.
    pub async fn run(self, heard: impl Fn(Result<Duration, &EngineError>)) {
        let Check(mut lease) = self;
        let pool = lease.place.pool.clone();
        let checks = pool.0.checks;
        let path = pool.ping_path();
        let metrics = &pool.0.opener.metrics;
        let was_unhealthy = !checks.is_healthy(lease.pooled());
        let mut failures = lease.pooled().failures;
        let mut isolated = None;
        let is_well = {
            let began = Instant::now();
            let _timed = metrics.health_seconds.start_timer();
            let mut length = 0;
            let mut ping = pin!(lease.get(path, |data| {
                length += data.len();
                length <= ANSWER
            }));
            let mut late = 0;
            loop {
                let answered = timeout(checks.timeout, ping.as_mut()).await;
                let is_last = answered.is_ok() || late + 1 == 2 * checks.unhealthy_after;
                let error = match answered {
                    Ok(Ok(answer)) if answer.status == 200 => {
                        heard(Ok(began.elapsed()));
                        break true;
                    }
                    Ok(Ok(answer)) => EngineError::Status {
                        status: answer.status,
                        message: format!("to a ping (GET {path})"),
                    },
                    Ok(Err(error)) => error.into(),
                    Err(_) => {
                        late += 1;
                        let limit = checks.timeout * late;
                        TransportError::Timeout { step: "a ping", limit }.into()
                    }
                };
                failures += 1;
                metrics.health_failures.inc();
                heard(Err(&error));
                if failures == checks.unhealthy_after {
                    warn!(%error, failures, "a connection to the engine is unhealthy");
                }
                if is_last {
                    break false;
                }
                if failures >= checks.unhealthy_after && isolated.is_none() {
                    isolated = Some(Isolated::new(&pool));
                }
            }
        };
        if is_well {
            failures = 0;
            if was_unhealthy || isolated.is_some() {
                info!("a connection to the engine is healthy again");
                metrics.recoveries.inc();
            }
        }
        // It has had as long again to recover.
        if failures < 2 * checks.unhealthy_after {
            lease.connection_mut().failures = failures;
            lease.put_back(Some(Instant::now()));
        } else {
            lease.close();
        }
    }
}
