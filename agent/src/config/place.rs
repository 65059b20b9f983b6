//! What is wrong with a configuration, and where it was said.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// No duration has a use beyond a year, and a clock cannot count on for ever.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The column, counted from 1.
        column: u64,
    },
    /// A variable or a `--set`, as the user wrote it.
    Override(String),
    /// Nowhere: it is the default.
    Default,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Override(text) => f.write_str(&without_password(text)),
            Place::Default => f.write_str("default"),
        }
    }
}

/// An address with a user name in it is refused. Its password must not be repeated.
fn without_password(text: &str) -> Cow<'_, str> {
    // An address without a scheme begins with the value.
    let begin = ["://", "="].iter().find_map(|mark| Some(text.find(mark)? + mark.len()));
    let (before, address) = text.split_at(begin.unwrap_or_default());
    match address.rsplit_once('@') {
        Some((_, host)) => format!("{before}…@{host}").into(),
        None => text.into(),
    }
}

/// A key whose value cannot be used, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the value was said.
    pub place: Place,
    /// The key with dots.
    pub key: String,
    /// Why it cannot be used, to be read after the key.
    pub message: String,
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// The file, as it was named.
        path: PathBuf,
        /// What the system has said.
        source: std::io::Error,
    },
    /// `path:line:column: what is wrong`, as compilers say it.
    #[error("{place}: {message}")]
    Malformed {
        /// Where it is wrong.
        place: Place,
        /// What is wrong there.
        message: String,
    },
    /// Each value is well-formed, but some of them cannot be meant.
    #[error("{}", lines(.0))]
    Unusable(Vec<Problem>),
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Collects what the sections find wrong with themselves.
///
/// A section names its own keys only. Where the section itself stands is known to whoever called
/// [`Problems::section`] for it.
#[derive(Debug, Default)]
pub struct Problems {
    /// The keys of the sections that are being checked, each with a dot behind it.
    prefix: String,
    /// Keys with dots, and messages.
    found: Vec<(String, String)>,
}

impl Problems {
    /// Checks the section at `key`.
    pub fn section(&mut self, key: &str, check: impl FnOnce(&mut Self)) {
        let length = self.prefix.len();
        self.prefix.push_str(key);
        self.prefix.push('.');
        check(self);
        self.prefix.truncate(length);
    }

    /// `message` is read after the key: "must be …".
    pub fn add(&mut self, key: &str, message: impl Into<String>) {
        self.found.push((format!("{}{key}", self.prefix), message.into()));
    }

    /// Adds the message unless the condition holds.
    pub fn require(&mut self, holds: bool, key: &str, message: &str) {
        if !holds {
            self.add(key, message);
        }
    }

    /// A number must be in a range, its ends included.
    pub fn range<T: PartialOrd + Display>(&mut self, value: T, range: RangeInclusive<T>, key: &str) {
        if !range.contains(&value) {
            self.add(key, format!("must be from {} to {}", range.start(), range.end()));
        }
    }

    /// A time that must pass before something happens: it must be there, and it must end.
    pub fn duration(&mut self, value: Duration, key: &str) {
        self.require(value > Duration::ZERO, key, "must be longer than 0s");
        self.require(value <= LONGEST, key, "must be at most 365days");
    }

    /// What was found, with the place where each key was said.
    pub fn located(self, place: impl Fn(&str) -> Place) -> Vec<Problem> {
        let located = |(key, message): (String, String)| Problem {
            place: place(&key),
            key,
            message,
        };
        self.found.into_iter().map(located).collect()
    }
}
