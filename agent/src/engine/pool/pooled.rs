//! A connection with what the pool knows of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::metrics::Metrics;
use super::super::transport::Connection;

/// Counted as opened when it is made, and as closed when it is dropped, whoever drops it.
pub struct Pooled {
    pub connection: Connection,
    /// Requests that it has served.
    pub uses: u64,
    /// Pings that have failed, one after the other.
    pub failures: u32,
    /// When it was last of use.
    pub since: Instant,
    /// When it last brought an answer.
    pub checked: Option<Instant>,
    metrics: Arc<Metrics>,
}

impl Pooled {
    pub fn new(connection: Connection, metrics: Arc<Metrics>) -> Self {
        metrics.pool_operations.with_label_values(&["open"]).inc();
        Self {
            connection,
            uses: 0,
            failures: 0,
            since: Instant::now(),
            checked: None,
            metrics,
        }
    }

    /// Whether another request can be sent over it.
    pub fn is_fit(&self, max_age: Duration) -> bool {
        self.connection.opened().elapsed() < max_age && self.connection.is_reusable()
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.metrics.pool_operations.with_label_values(&["close"]).inc();
    }
}
