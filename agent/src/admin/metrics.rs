//! What is counted of the agent as a whole.

use prometheus::{IntGauge, Registry};

use crate::metrics::gauge;

pub struct Metrics {
    pub tasks: IntGauge,
}

impl Metrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            tasks: gauge(registry, "tasks", "Asynchronous tasks that are alive.")?,
        })
    }

    pub fn observe(&self) {
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        self.tasks.set(i64::try_from(alive).unwrap_or(i64::MAX));
    }
}
