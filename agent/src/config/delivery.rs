//! From the streams to the sinks.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::place::Problems;
use super::store::{Auth, LokiField, StoreTls, check_fields, check_url};
use super::values::exactly;

/// From the streams to the sinks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delivery {
    /// A batch is handed over at once while the sinks are idle, and while they write when it is
    /// this large, or this old.
    #[serde(serialize_with = "exactly")]
    pub batch_bytes: ByteSize,
    /// See `batch_bytes`.
    #[serde(with = "humantime_serde")]
    pub flush_interval: Duration,
    /// Batches that may wait for the slowest sink; then nothing more is read.
    pub max_batches: usize,
}

/// Records that a store refuses for good. They are kept in `state_dir`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeadLetters {
    /// They take this room at most. What finds none is dropped, and counted.
    #[serde(serialize_with = "exactly")]
    pub max_bytes: ByteSize,
}

/// A place that records go to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Sink {
    /// Standard output.
    Stdout {
        /// What it is called in metrics, in `/readyz` and in messages. By default it is the type; from the second sink of a
        /// type on, a number follows: `file-2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
    },
    /// A file.
    File {
        /// What it is called in metrics, in `/readyz` and in messages. By default it is the type; from the second sink of a
        /// type on, a number follows: `file-2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The file. Records are appended to it.
        path: PathBuf,
    },
    /// Grafana Loki, or what takes its push protocol.
    Loki {
        /// What it is called in metrics, in `/readyz` and in messages. By default it is the type; from the second sink of a
        /// type on, a number follows: `file-2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where the store is: `http://` or `https://`, the host, and a path if its own paths stand below one.
        url: String,
        /// The tenant, which the header `X-Scope-OrgID` names. Empty: without that header.
        #[serde(default)]
        tenant: String,
        /// Who the agent says it is.
        #[serde(default)]
        auth: Auth,
        /// For a `url` with `https://`.
        #[serde(default)]
        tls: StoreTls,
        /// What makes a stream in Loki: few things, which have few values. By default `[host, container, project]`.
        #[serde(default = "labels")]
        labels: Vec<LokiField>,
        /// What each line has as structured metadata. By default `[id, image, stream]`.
        #[serde(default = "metadata")]
        metadata: Vec<LokiField>,
        /// A longer line is cut there, marked with the metadata `truncated`, and counted: Loki would refuse it. By default
        /// `256KiB`, as Loki's `max_line_size`.
        #[serde(default = "longest", serialize_with = "exactly")]
        max_line_bytes: ByteSize,
    },
    /// An OpenTelemetry collector, or a store that takes its protocol over HTTP.
    Otlp {
        /// What it is called in metrics, in `/readyz` and in messages. By default it is the type; from the second sink of a
        /// type on, a number follows: `file-2`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// Where it is: `http://` or `https://`, the host, and a path if `/v1/logs` stands below one.
        url: String,
        /// A file with headers of each request, one a line: `Authorization: Bearer ...`, or a key of a vendor's. It is read
        /// again when it changes. Empty: none.
        #[serde(default)]
        headers_file: PathBuf,
        /// For a `url` with `https://`.
        #[serde(default)]
        tls: StoreTls,
        /// A longer line is cut there, marked with the attribute `log_capturer.truncated`, and counted. By default `1MiB`.
        #[serde(default = "longest_body", serialize_with = "exactly")]
        max_line_bytes: ByteSize,
    },
}

fn labels() -> Vec<LokiField> {
    vec![LokiField::Host, LokiField::Container, LokiField::Project]
}

fn metadata() -> Vec<LokiField> {
    vec![LokiField::Id, LokiField::Image, LokiField::Stream]
}

fn longest() -> ByteSize {
    ByteSize::kib(256)
}

fn longest_body() -> ByteSize {
    ByteSize::mib(1)
}

impl Delivery {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(
            (4 << 10..=64 << 20).contains(&self.batch_bytes.as_u64()),
            "batch_bytes",
            "must be from 4KiB to 64MiB",
        );
        problems.duration(self.flush_interval, "flush_interval");
        problems.range(self.max_batches, 2..=1024, "max_batches");
    }
}

impl DeadLetters {
    /// Tells what is wrong with its own keys.
    pub fn check(&self, problems: &mut Problems) {
        problems.require(
            (1 << 20..=1 << 40).contains(&self.max_bytes.as_u64()),
            "max_bytes",
            "must be from 1MiB to 1TiB",
        );
    }
}

impl Sink {
    /// What the sinks are called. A name that is not given is the type, and has a number from the second one on.
    pub fn names(sinks: &[Self]) -> Vec<String> {
        let (mut stdouts, mut files, mut lokis, mut otlps) = (0, 0, 0, 0);
        let name = |sink: &Self| {
            let (name, kind, count) = match sink {
                Sink::Stdout { name } => (name, "stdout", &mut stdouts),
                Sink::File { name, .. } => (name, "file", &mut files),
                Sink::Loki { name, .. } => (name, "loki", &mut lokis),
                Sink::Otlp { name, .. } => (name, "otlp", &mut otlps),
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

    /// Two sinks must not write to one place, nor have one name.
    pub fn check_all(sinks: &[Self], problems: &mut Problems) {
        problems.require(!sinks.is_empty(), "sinks", "must name at least one sink");
        let stdouts = sinks.iter().filter(|sink| matches!(sink, Sink::Stdout { .. })).count();
        problems.require(stdouts <= 1, "sinks", "must not name stdout twice");
        let paths = sinks.iter().filter_map(|sink| match sink {
            Sink::File { path, .. } => Some(path),
            Sink::Stdout { .. } | Sink::Loki { .. } | Sink::Otlp { .. } => None,
        });
        let mut named = HashSet::new();
        problems.require(
            paths.into_iter().all(|path| named.insert(path)),
            "sinks",
            "must not name one file twice",
        );
        let names = Self::names(sinks);
        problems.require(
            names.iter().all(|name| is_name(name)),
            "sinks",
            "must have names of 1 to 64 letters, digits, dots, dashes and underscores",
        );
        let mut taken = HashSet::new();
        if let Some(twice) = names.iter().find(|name| !taken.insert(*name)) {
            problems.add("sinks", format!("must not call two sinks {twice}"));
        }
        for (sink, name) in sinks.iter().zip(&names) {
            sink.check(name, problems);
        }
    }

    fn check(&self, sink: &str, problems: &mut Problems) {
        match self {
            Sink::Stdout { .. } | Sink::File { .. } => {}
            Sink::Loki {
                url,
                tenant,
                auth,
                tls,
                labels,
                metadata,
                max_line_bytes,
                ..
            } => {
                check_url(url, problems, sink);
                auth.check(problems, sink);
                tls.check(problems, sink);
                check_fields(labels, metadata, problems, sink);
                problems.require(
                    tenant.bytes().all(|byte| (b'!'..=b'~').contains(&byte)),
                    "sinks",
                    &format!("{sink}: tenant must be of visible ASCII characters"),
                );
                check_longest(*max_line_bytes, ByteSize::kib(512), problems, sink);
            }
            Sink::Otlp {
                url,
                tls,
                max_line_bytes,
                ..
            } => {
                check_url(url, problems, sink);
                tls.check(problems, sink);
                check_longest(*max_line_bytes, ByteSize::mib(4), problems, sink);
            }
        }
    }
}

fn check_longest(max_line_bytes: ByteSize, most: ByteSize, problems: &mut Problems, sink: &str) {
    problems.require(
        (ByteSize::kib(1)..=most).contains(&max_line_bytes),
        "sinks",
        &format!("{sink}: max_line_bytes must be from 1KiB to {}KiB", most.as_u64() >> 10),
    );
}

/// Names are labels of metrics, and become parts of file names.
fn is_name(name: &str) -> bool {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(is_known)
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self {
            max_bytes: ByteSize::mib(64),
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
