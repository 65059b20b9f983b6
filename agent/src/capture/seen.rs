//! A line, as a position remembers it.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::record::{Line, Stream, Time};

/// A line as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    /// The engine's time of it.
    pub time: Time,
    /// See [`Self::fingerprint`].
    #[serde(rename = "print")]
    pub fingerprint: u64,
}

impl Seen {
    /// The line as it is remembered.
    pub fn of(line: &Line<'_>) -> Self {
        Self {
            time: line.time,
            fingerprint: Self::fingerprint(line.stream, line.bytes),
        }
    }

    /// A hash (XXH3, 64 bits) of the stream and the line's bytes.
    pub fn fingerprint(stream: Stream, bytes: &[u8]) -> u64 {
        let stream = match stream {
            Stream::Stdout => 0,
            Stream::Stderr => 1,
        };
        XxHash3_64::oneshot(bytes) ^ stream
    }
}
