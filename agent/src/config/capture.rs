//! What is read, of which containers, and how their lines are treated.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::labels::ContainerLabels;
use super::lines::{LineRate, Multiline};
use super::place::Problems;
use super::selector::{Selector, check_patterns};
use super::source::{LogFiles, Source, Start};
use super::values::exactly;

/// What is read of which containers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Where logs are read from.
    pub source: Source,
    /// The first line of a container that was never read before.
    pub start: Start,
    /// The files that the engine's log drivers write.
    pub files: LogFiles,
    /// Only containers that one of these matches; all when there is none.
    pub include: Vec<Selector>,
    /// But none that one of these matches.
    pub exclude: Vec<Selector>,
    /// The labels that records bear: patterns for their keys.
    pub labels: Vec<String>,
    /// What else records tell of their container.
    pub fields: Vec<Field>,
    /// How many logs are read at a time.
    pub streams: Streams,
    /// When a stream gets a new connection.
    pub rotation: Rotation,
    /// How silent streams are looked after.
    pub silence: Silence,
    /// How lines become records of several lines.
    pub multiline: Multiline,
    /// How much one container may write.
    pub rate_limit: LineRate,
    /// What the labels of a container may set.
    pub container_labels: ContainerLabels,
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

/// How many logs are read at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Streams {
    /// Containers whose log is read at the same time. The others wait for their turn.
    pub max_concurrent: usize,
}

/// When a stream gets a new connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// For a stream that has brought lines.
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
    /// The longest pause between two questions.
    #[serde(with = "humantime_serde")]
    pub max_interval: Duration,
}

impl Capture {
    /// Tells what is wrong with its own keys and those of its sections.
    pub fn check(&self, problems: &mut Problems) {
        self.start.check(problems);
        problems.section("files", |problems| self.files.check(problems));
        Selector::check_all(&self.include, "include", problems);
        Selector::check_all(&self.exclude, "exclude", problems);
        check_patterns(self.labels.iter().map(String::as_str), "labels", problems);
        problems.section("streams", |problems| self.streams.check(problems));
        problems.section("rotation", |problems| self.rotation.check(problems));
        problems.section("silence", |problems| self.silence.check(problems));
        problems.section("multiline", |problems| self.multiline.check(problems));
        problems.section("rate_limit", |problems| self.rate_limit.check(problems));
        problems.require(
            (1 << 10..=1 << 28).contains(&self.max_line_bytes.as_u64()),
            "max_line_bytes",
            "must be from 1KiB to 256MiB",
        );
        problems.require(
            self.coalesce <= Duration::from_secs(1),
            "coalesce",
            "must be at most 1s",
        );
    }
}

impl Streams {
    fn check(&self, problems: &mut Problems) {
        problems.range(self.max_concurrent, 1..=10_000, "max_concurrent");
    }
}

impl Rotation {
    fn check(&self, problems: &mut Problems) {
        problems.duration(self.interval, "interval");
        problems.require(
            self.interval >= Duration::from_millis(100),
            "interval",
            "must be at least 100ms",
        );
        problems.duration(self.idle_interval, "idle_interval");
        problems.require(self.max_concurrent >= 1, "max_concurrent", "must be at least 1");
    }
}

impl Silence {
    fn check(&self, problems: &mut Problems) {
        problems.duration(self.probe_after, "probe_after");
        problems.require(
            self.probe_after >= Duration::from_millis(100),
            "probe_after",
            "must be at least 100ms",
        );
        problems.duration(self.max_interval, "max_interval");
        problems.require(
            self.max_interval >= self.probe_after,
            "max_interval",
            "must not be shorter than capture.silence.probe_after",
        );
    }
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            source: Source::default(),
            start: Start::default(),
            files: LogFiles::default(),
            include: Vec::new(),
            exclude: Vec::new(),
            labels: vec!["*".to_owned()],
            fields: Vec::new(),
            streams: Streams::default(),
            rotation: Rotation::default(),
            silence: Silence::default(),
            multiline: Multiline::default(),
            rate_limit: LineRate::default(),
            container_labels: ContainerLabels::default(),
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
