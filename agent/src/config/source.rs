//! Where logs are read from, and from which line on.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Problems;

/// Where a container's log is read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// From the engine's files where they can be read, through its API where not.
    #[default]
    Auto,
    /// From the engine's files alone.
    Files,
    /// Through the engine's API alone.
    Api,
}

/// The files that an engine's log drivers write.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogFiles {
    /// Where the engine's data root is mounted. Empty: where the engine says that it is.
    pub root: PathBuf,
}

impl LogFiles {
    /// Reports a root that would depend on the folder that the agent is started in.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(
            self.root.as_os_str().is_empty() || self.root.is_absolute(),
            "root",
            "must be an absolute path, or empty",
        );
    }
}

/// The first line of a container that was never read before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// The first that the engine still has.
    #[default]
    Beginning,
    /// The first that is written from now on.
    End,
    /// The first that is not older than this.
    Age(Duration),
}

impl Start {
    /// Reports an age of nothing: `end` says the same, and is what is meant.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(*self != Self::Age(Duration::ZERO), "start", "must be longer than 0s");
    }
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "beginning" => Ok(Self::Beginning),
            "end" => Ok(Self::End),
            age => age
                .parse::<humantime_serde::re::humantime::Duration>()
                .map(|age| Self::Age(age.into()))
                .map_err(|_| format!("`{age}` is not beginning, end, or an age such as 24h")),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("beginning"),
            Self::End => f.write_str("end"),
            Self::Age(age) => humantime_serde::re::humantime::format_duration(*age).fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_or_an_age() {
        for (text, start) in [
            ("beginning", Ok(Start::Beginning)),
            ("end", Ok(Start::End)),
            ("24h", Ok(Start::Age(Duration::from_secs(24 * 3600)))),
            ("yesterday", Err(())),
            ("", Err(())),
        ] {
            let read = Start::try_from(text.to_owned());
            assert_eq!(read.map_err(|_| ()), start, "{text}");
        }
        assert_eq!(Start::Age(Duration::from_secs(90)).to_string(), "1m 30s");
    }
}
