//! What travels through the house: a container, a stream, a line. A leaf, no I/O.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The engine's id of a container: 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

impl ContainerId {
    /// Takes the id as the engine gave it; nothing is checked.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The twelve digits that `docker ps` shows.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl From<String> for ContainerId {
    fn from(id: String) -> Self {
        Self::new(&id)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// What a record says of the container that wrote the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Unique: no other container ever gets the same.
    pub id: ContainerId,
    /// Without the leading slash that the API puts there.
    pub name: String,
    /// As the container was created with it, for example `nginx:1.27`.
    pub image: String,
    /// All of its labels.
    pub labels: BTreeMap<String, String>,
}

/// Which of a container's two outputs a line came from. A TTY has one, told as `stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both of them, in the order of their numbers.
    pub const ALL: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

    /// As records and metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// The engine's time of a line, in nanoseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// Now, by the machine's clock.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }

    /// So long before.
    pub fn before(self, age: Duration) -> Self {
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(age))
    }

    /// In seconds since 1970-01-01T00:00:00Z.
    pub fn as_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The `since` parameter of the logs endpoint: `seconds.nanoseconds`.
    pub fn as_since(self) -> String {
        // Before 1970 no engine logged anything; a time from then is a clock that was not set.
        let nanos = self.0.max(0);
        format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
    }
}

/// Where a source begins to read a container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With the log's first line.
    Beginning,
    /// With the first line of this time or later.
    Time(Time),
    /// The last so many records of the log, of whatever time. An engine searches for a time from the log's first byte; for
    /// the last records it starts at the end. A source that cannot do that begins at the time.
    Tail {
        /// How many records. Each part of a long line counts as one.
        records: u32,
        /// Where a source begins if it cannot count from the end.
        or_since: Time,
    },
}

/// Where a source ends to read a container's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the container.
    Death,
    /// Where the log ends now.
    Now,
}

/// A whole line of a container, lent for as long as it takes to encode it.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// When the engine received it.
    pub time: Time,
    /// The output that the container wrote it to.
    pub stream: Stream,
    /// Without its line end; the bytes as the container wrote them.
    pub bytes: &'a [u8],
    /// Set when the line was longer than `capture.max_line_bytes`.
    pub truncated: bool,
}
