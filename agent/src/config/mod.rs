//! The configuration: one typed tree, read once, checked once.
//!
//! `configs/default.yaml` shows every key with its default and what it is for; a test holds
//! the two equal. Durations are written as `5m`, sizes as `64MiB`.

mod address;
mod docker;
mod environment;
mod load;
mod locate;
mod pattern;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

pub use address::{Address, AddressError, Scheme};
pub use docker::*;
pub use load::{ConfigError, Problem, Sources, unknown_variables};
pub use pattern::{PatternError, expression, pattern};

/// The engine's socket where nothing else is said.
pub const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// In bytes: as text a size is rounded, and overrides go over the whole tree once more.
fn exactly<S: serde::Serializer>(size: &ByteSize, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(size.as_u64())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The `host` of every record; the machine's name when empty.
    pub host: String,
    pub docker: Docker,
    pub capture: Capture,
    pub kernel: Kernel,
    /// Where positions are kept for the next start; nowhere when empty.
    pub state_dir: PathBuf,
    pub delivery: Delivery,
    pub sinks: Vec<Sink>,
    pub admin: Admin,
    pub log: Log,
    pub shutdown: Shutdown,
}

/// What is read of which containers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Only containers that one of these matches; all when there is none.
    pub include: Vec<Selector>,
    /// But none that one of these matches.
    pub exclude: Vec<Selector>,
    /// The labels that records bear: patterns for their keys.
    pub labels: Vec<String>,
    /// What else records tell of their container.
    pub fields: Vec<Field>,
    pub streams: Streams,
    pub rotation: Rotation,
    pub silence: Silence,
    pub multiline: Multiline,
    pub rate_limit: LineRate,
    /// A longer line is cut there.
    #[serde(serialize_with = "exactly")]
    pub max_line_bytes: ByteSize,
    /// How long lines may gather in the socket before they are read together.
    #[serde(with = "humantime_serde")]
    pub coalesce: Duration,
}

/// What a record can tell of its container beside name, image and labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Field {
    /// Project, service and number.
    Compose,
    /// Stack, service, task and node.
    Swarm,
}

/// Matches a container when all that is given matches: globs, or expressions behind `regex:`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    pub name: Option<String>,
    pub image: Option<String>,
    /// `key`, or `key=pattern`.
    pub label: Option<String>,
    /// The compose project.
    pub project: Option<String>,
}

impl Selector {
    /// All patterns that it has.
    fn patterns(&self) -> impl Iterator<Item = &str> {
        let label = self.label.as_deref().and_then(|label| label.split_once('='));
        let whole = [&self.name, &self.image, &self.project];
        whole
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(label.map(|(_, value)| value))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    pub max_concurrent: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// For a stream that has brought no line since it was opened.
    #[serde(with = "humantime_serde")]
    pub idle_interval: Duration,
    /// Connections beyond `streams.max_concurrent` that rotations may hold: the new one is
    /// open before the old one closes.
    pub max_concurrent: usize,
}

/// When the engine is asked whether a silent stream misses something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Silence {
    /// The silence before the first question; each pause until the next is twice as long.
    #[serde(with = "humantime_serde")]
    pub probe_after: Duration,
    #[serde(with = "humantime_serde")]
    pub max_interval: Duration,
}

/// Records of several lines.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Multiline {
    /// The first that matches a container counts.
    pub rules: Vec<MultilineRule>,
    /// Nothing came for so long: the record has ended.
    #[serde(with = "humantime_serde")]
    pub max_delay: Duration,
    /// What would be longer goes on in another record.
    #[serde(serialize_with = "exactly")]
    pub max_bytes: ByteSize,
    pub max_lines: usize,
}

/// For the containers that match, all of them if nothing is given but `start`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultilineRule {
    /// An expression; a line in which it matches is the first of a record.
    pub start: String,
    #[serde(default)]
    pub containers: Selector,
}

/// What one container may bring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LineRate {
    /// More is dropped, and counted; 0: no limit.
    pub lines_per_second: u32,
    /// The time whose lines may come at once.
    #[serde(with = "humantime_serde")]
    pub burst: Duration,
}

/// The kernel half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    pub mode: KernelMode,
    pub tier: KernelTier,
    /// Connections that the kernel's map has room for.
    pub max_connections: u32,
    /// Carry the kernel side's debug messages into the log.
    pub debug: bool,
    pub leaks: Leaks,
    /// End a leaked connection by `shutdown(2)`.
    pub heal: bool,
}

/// When a connection is called leaked, and what is done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leaks {
    #[serde(with = "humantime_serde")]
    pub scan_interval: Duration,
    /// For one that no part of the agent owns.
    #[serde(with = "humantime_serde")]
    pub orphan_after: Duration,
    /// For one of which the peer has ended.
    #[serde(with = "humantime_serde")]
    pub half_closed_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelMode {
    /// Run without it where it is refused, and say why.
    Auto,
    /// Exit with the reason where it is refused.
    Required,
    Off,
}

/// How the kernel part is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelTier {
    /// The best that the kernel takes.
    Auto,
    Fentry,
    Tracepoint,
}

/// From the streams to the sinks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// A batch is handed over at once while the sinks are idle, and while they write when it is this large, or this old.
    #[serde(serialize_with = "exactly")]
    pub batch_bytes: ByteSize,
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
    /// Batches that may wait for the slowest sink; then nothing more is read.
    pub max_batches: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Sink {
    Stdout {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    File {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        path: PathBuf,
    },
}

impl Sink {
    /// What the sinks are called: the label of their metrics, and their parts of `/readyz`. One that is given no name has its
    /// type's, and a number from the second one on.
    pub fn names(sinks: &[Self]) -> Vec<String> {
        let (mut stdouts, mut files) = (0, 0);
        let name = |sink: &Self| {
            let (name, kind, count) = match sink {
                Sink::Stdout { name } => (name, "stdout", &mut stdouts),
                Sink::File { name, .. } => (name, "file", &mut files),
            };
            name.clone().unwrap_or_else(|| {
                *count += 1;
                match *count {
                    1 => kind.to_owned(),
                    number => format!("{kind}-{number}"),
                }
            })
        };
        sinks.iter().map(name).collect()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: Level,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// What was read must be delivered by then.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
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
            admin: Admin::default(),
            log: Log::default(),
            shutdown: Shutdown::default(),
        }
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            include: Vec::new(),
            exclude: Vec::new(),
            labels: vec!["*".to_owned()],
            fields: Vec::new(),
            streams: Streams::default(),
            rotation: Rotation::default(),
            silence: Silence::default(),
            multiline: Multiline::default(),
            rate_limit: LineRate::default(),
            max_line_bytes: ByteSize::mib(1),
            coalesce: Duration::from_micros(2_750),
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self { max_concurrent: 50 }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            idle_interval: Duration::from_secs(3600),
            max_concurrent: 2,
        }
    }
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            probe_after: Duration::from_secs(5),
            max_interval: Duration::from_secs(60),
        }
    }
}

impl Default for Multiline {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            max_delay: Duration::from_secs(1),
            max_bytes: ByteSize::kib(256),
            max_lines: 500,
        }
    }
}

impl Default for LineRate {
    fn default() -> Self {
        Self {
            lines_per_second: 0,
            burst: Duration::from_secs(5),
        }
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            mode: KernelMode::Auto,
            tier: KernelTier::Auto,
            max_connections: 4096,
            debug: false,
            leaks: Leaks::default(),
            heal: false,
        }
    }
}

impl Default for Leaks {
    fn default() -> Self {
        Self {
            scan_interval: Duration::from_secs(10),
            orphan_after: Duration::from_secs(10),
            half_closed_after: Duration::from_secs(30),
        }
    }
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            batch_bytes: ByteSize::kib(256),
            flush_interval: Duration::from_millis(100),
            max_batches: 8,
        }
    }
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8001)),
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
