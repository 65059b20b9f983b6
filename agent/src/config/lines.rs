//! How the lines of one container are treated.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::pattern::expression;
use super::place::Problems;
use super::selector::{Selector, check_patterns};
use super::values::exactly;

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
    /// A record of more lines goes on in another one.
    pub max_lines: usize,
}

/// How the records of some containers begin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultilineRule {
    /// An expression. A line in which it matches is the first of a record.
    pub start: String,
    /// The containers that the rule is for. All of them, if it is not given.
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

impl Multiline {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        for rule in &self.rules {
            check_patterns(rule.containers.patterns(), "rules", problems);
            if let Err(error) = expression(&rule.start) {
                problems.add("rules", error.to_string());
            }
        }
        problems.require(
            (Duration::from_millis(1)..=Duration::from_secs(60)).contains(&self.max_delay),
            "max_delay",
            "must be from 1ms to 60s",
        );
        problems.require(
            (1 << 10..=64 << 20).contains(&self.max_bytes.as_u64()),
            "max_bytes",
            "must be from 1KiB to 64MiB",
        );
        problems.range(self.max_lines, 2..=10_000, "max_lines");
    }
}

impl LineRate {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(self.burst <= Duration::from_secs(3600), "burst", "must be at most 1h");
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
