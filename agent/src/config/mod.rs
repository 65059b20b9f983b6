//! The configuration: one typed tree, read once, checked once.
//!
//! `configs/default.yaml` shows every key with its default and what it is for; a test holds
//! the two equal. Durations are written as `5m`, sizes as `64MiB`.
//!
//! Each section checks itself: `check` tells [`Problems`] what is wrong with the section's own
//! keys.
//!
//! There is one way from a section to the part that it configures. The part has its own options
//! type, and beside it stands `impl From<&config::Section> for Options`, or `TryFrom` where
//! patterns are compiled. `app/wiring.rs` calls it, and copies no value itself. So a part
//! knows its own section and no other, and its options can be made in a test without any
//! configuration. `docs/decisions` has the reasons, under *one way from a section to options*.

mod address;
mod capture;
mod delivery;
mod docker;
mod effective;
mod environment;
mod guard;
mod kernel;
mod labels;
mod lines;
mod load;
mod locate;
mod overrides;
mod pattern;
mod place;
mod pool;
mod selector;
mod source;
mod store;
mod store_url;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use address::{Address, AddressError, Scheme};
pub use capture::{Capture, Field, Rotation, Silence, Streams};
pub use delivery::{DeadLetters, Delivery, Sink};
pub use docker::{Api, Docker, Tls, TlsMode};
pub use guard::{CircuitBreaker, RateLimit, Retry};
pub use kernel::{Kernel, KernelMode, KernelTier, Leaks};
pub use labels::{ContainerLabels, RateLabel};
pub use lines::{LineRate, Multiline, MultilineRule};
pub use load::Sources;
pub use overrides::{changed, unknown_variables};
pub use pattern::{PatternError, expression, pattern};
pub use place::{Invalid, Place, Problem, Problems};
pub use pool::{Health, Pool, Weights};
pub use selector::Selector;
pub use source::{LogFiles, Source, Start};
pub use store::{Auth, LokiField, StoreTls};
pub use store_url::StoreUrl;
pub use values::bytes;

/// All of the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The `host` of every record. When empty, the machine's name; in a container, the engine's.
    pub host: String,
    /// The engine and the connections to it.
    pub docker: Docker,
    /// What is read of which containers.
    pub capture: Capture,
    /// The kernel half.
    pub kernel: Kernel,
    /// Where positions are kept for the next start; nowhere when empty.
    pub state_dir: PathBuf,
    /// From the streams to the sinks.
    pub delivery: Delivery,
    /// Where records go: every sink gets all of them.
    pub sinks: Vec<Sink>,
    /// Records that a store refuses for good.
    pub dead_letters: DeadLetters,
    /// The admin server.
    pub admin: Admin,
    /// The agent's own messages.
    pub log: Log,
    /// How the agent ends.
    pub shutdown: Shutdown,
}

/// The admin server. It has no authentication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Names that it may be asked by, beside addresses, `localhost` and the machine's name.
    pub hosts: Vec<String>,
}

/// The messages of the agent itself, on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least urgent messages that are shown.
    pub level: Level,
}

/// How urgent a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not work, or will not for long.
    Warn,
    /// Something happened that a user may want to know.
    Info,
    /// What the agent does, step by step.
    Debug,
    /// All there is, with what the libraries say.
    Trace,
}

/// How the agent ends after SIGTERM or SIGINT.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// What was read must be delivered by then.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
}

impl Config {
    /// Finds limits that are exceeded, and values that contradict each other.
    pub fn check(&self, problems: &mut Problems) {
        problems.section("docker", |problems| self.docker.check(problems));
        problems.section("capture", |problems| self.capture.check(problems));
        problems.section("kernel", |problems| self.kernel.check(problems));
        problems.section("delivery", |problems| self.delivery.check(problems));
        Sink::check_all(&self.sinks, problems);
        problems.section("dead_letters", |problems| self.dead_letters.check(problems));
        problems.section("shutdown", |problems| self.shutdown.check(problems));
    }
}

impl Shutdown {
    fn check(&self, problems: &mut Problems) {
        problems.duration(self.deadline, "deadline");
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: String::new(),
            docker: Docker::default(),
            capture: Capture::default(),
            kernel: Kernel::default(),
            state_dir: PathBuf::new(),
            delivery: Delivery::default(),
            sinks: vec![Sink::Stdout { name: None }],
            dead_letters: DeadLetters::default(),
            admin: Admin::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
            hosts: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::Info }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
        }
    }
}
