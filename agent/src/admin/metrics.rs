//! What is counted of the agent as a whole.

use prometheus::{IntGauge, Registry};

use crate::metrics::{gauge, gauges};
use crate::version::{REVISION, VERSION};

/// The metrics of the process.
pub struct Metrics {
    /// `tasks`.
    pub tasks: IntGauge,
}

impl Metrics {
    /// Enters them in the registry. It fails if one of the names is taken.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let build_info = gauges(
            registry,
            "build_info",
            "1, with the version and the commit that the agent was built from.",
            &["version", "revision"],
        )?;
        build_info.with_label_values(&[VERSION, REVISION]).set(1);
        Ok(Self {
            tasks: gauge(registry, "tasks", "Asynchronous tasks that are alive.")?,
        })
    }

    /// Brings them up to date. It must be called within a tokio runtime.
    pub fn observe(&self) {
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        self.tasks.set(i64::try_from(alive).unwrap_or(i64::MAX));
    }
}
