//! SIGHUP: the configuration is read again, and what can change while the agent runs does.
//!
//! All of it is loaded and checked as at the start before anything changes, so a configuration that is refused changes
//! nothing. It is loaded on a thread of its own: the file can be on a disk that does not answer, and expressions take
//! their time to be compiled.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::metrics::Metrics;
use super::wiring::policy;
use crate::capture::{Policies, Policy};
use crate::config::{Config, Invalid, Level, Sources, changed};
use crate::engine::Endpoint;

/// The keys, and the sections, whose values can change while the agent runs.
const LIVE: [&str; 13] = [
    "host",
    "capture.start",
    "capture.include",
    "capture.exclude",
    "capture.labels",
    "capture.fields",
    "capture.streams",
    "capture.rotation",
    "capture.silence",
    "capture.multiline",
    "capture.rate_limit",
    "capture.container_labels",
    "log.level",
];

/// Shows messages from this level on.
pub type ShowFrom = Box<dyn Fn(Level) + Send + Sync>;

/// Loads the configuration, and finds the way to the engine that it names, with the files that it takes.
pub fn load(sources: &Sources) -> Result<(Config, Endpoint), Invalid> {
    sources.load(|config| Endpoint::new(&config.docker).map_err(|error| (error.key, error.message)))
}

/// Reads the configuration again whenever it is asked to.
pub(super) struct Reloads {
    pub sources: Arc<Sources>,
    /// What the agent has started with: what is not live stays as it is here.
    pub begun: Config,
    pub endpoint: Arc<Endpoint>,
    pub policies: Policies,
    pub show_from: ShowFrom,
    pub metrics: Metrics,
}

impl Reloads {
    /// Runs for as long as the agent does. Who asks while a reload is under way gets another one after it, so the last
    /// version of the file is the one in force.
    pub(super) async fn run(self, asked: Arc<Notify>) {
        let mut in_force = self.begun.clone();
        loop {
            asked.notified().await;
            match self.read().await {
                Ok(Read {
                    config,
                    endpoint,
                    policy,
                }) => {
                    self.adopt(&in_force, &config, &endpoint, policy);
                    in_force = config;
                }
                Err(refusal) => {
                    self.metrics.failed();
                    error!("SIGHUP: nothing is changed, as the configuration cannot be used: {refusal:#}");
                }
            }
        }
    }

    async fn read(&self) -> Result<Read> {
        let sources = Arc::clone(&self.sources);
        let read = spawn_blocking(move || {
            let (config, endpoint) = load(&sources)?;
            let policy = policy(&config)?;
            Ok(Read {
                config,
                endpoint,
                policy,
            })
        });
        read.await.context("the thread that reads it has failed")?
    }

    fn adopt(&self, in_force: &Config, config: &Config, endpoint: &Endpoint, mut policy: Policy) {
        if config.capture.start == in_force.capture.start {
            // `end` is the time at which it was put in force, and containers may be waiting since.
            policy.start = self.policies.get().start;
        }
        self.endpoint.renew(endpoint);
        (self.show_from)(config.log.level);
        let mut live = changed(in_force, config);
        live.retain(|key| is_live(key));
        info!(changed = live.join(", "), "SIGHUP: the configuration was read again");
        let mut fixed = changed(&self.begun, config);
        fixed.retain(|key| !is_live(key));
        if !fixed.is_empty() {
            let keys = fixed.join(", ");
            warn!(
                keys,
                "these keys cannot change while the agent runs: restart it to put them in force"
            );
        }
        self.policies.replace(policy);
        self.metrics.succeeded();
    }
}

struct Read {
    config: Config,
    endpoint: Endpoint,
    policy: Policy,
}

fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| {
        key.strip_prefix(live)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}
