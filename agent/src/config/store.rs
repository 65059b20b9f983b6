//! What the sinks that send to a store have in common, and what Loki's have of their own.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::place::Problems;
use super::store_url::StoreUrl;

/// The CAs that a store is trusted by, and the agent's own certificate. For a `url` with `https://`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreTls {
    /// The CAs that sign the store's certificate, in PEM. Empty: the system's.
    pub ca: PathBuf,
    /// The agent's own certificate, in PEM. Empty: none.
    pub cert: PathBuf,
    /// The key of `cert`.
    pub key: PathBuf,
    /// What the store's certificate is for. Empty: the host of the URL.
    pub server_name: String,
}

/// How the agent shows a store who it is. Secrets are in files, which are read again when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// A file with a bearer token.
    pub bearer_file: PathBuf,
    /// The name for basic authentication.
    pub user: String,
    /// A file with the password of `user`.
    pub password_file: PathBuf,
}

/// What can be told of a record beside its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LokiField {
    /// The key `host` of the configuration.
    Host,
    /// The container's name.
    Container,
    /// The compose project, where there is one.
    Project,
    /// The compose service, where there is one.
    Service,
    /// The container's id.
    Id,
    /// The container's image.
    Image,
    /// `stdout` or `stderr`.
    Stream,
}

impl Auth {
    pub(super) fn check(&self, problems: &mut Problems, sink: &str) {
        let named = |path: &Path| !path.as_os_str().is_empty();
        let mut require = |holds: bool, what: &str| {
            problems.require(holds, "sinks", &format!("{sink}: auth {what}"));
        };
        require(
            !named(&self.bearer_file) || (self.user.is_empty() && !named(&self.password_file)),
            "must have a bearer_file, or a user with a password_file, and not both",
        );
        require(
            self.user.is_empty() != named(&self.password_file),
            "must have both user and password_file, or neither",
        );
        require(
            !self.user.contains([':', '\r', '\n']),
            "must have a user without a colon",
        );
    }
}

impl StoreTls {
    pub(super) fn check(&self, problems: &mut Problems, sink: &str) {
        let named = |path: &Path| !path.as_os_str().is_empty();
        problems.require(
            named(&self.cert) == named(&self.key),
            "sinks",
            &format!("{sink}: tls must have both cert and key, or neither"),
        );
    }
}

/// Tells what is wrong with a URL.
pub(super) fn check_url(url: &str, problems: &mut Problems, sink: &str) {
    if let Err(error) = url.parse::<StoreUrl>() {
        problems.add("sinks", format!("{sink}: url {error}"));
    }
}

/// Tells what is wrong with what Loki is told of a record.
pub(super) fn check_fields(labels: &[LokiField], metadata: &[LokiField], problems: &mut Problems, sink: &str) {
    let always = [
        LokiField::Host,
        LokiField::Container,
        LokiField::Id,
        LokiField::Image,
        LokiField::Stream,
    ];
    problems.require(
        labels.iter().any(|label| always.contains(label)),
        "sinks",
        &format!("{sink}: labels must name at least one that every record has: not project and service alone"),
    );
    let all: Vec<_> = labels.iter().chain(metadata).collect();
    let twice = (1..all.len()).any(|at| all[..at].contains(&all[at]));
    problems.require(
        !twice,
        "sinks",
        &format!("{sink}: labels and metadata must not name anything twice"),
    );
}
