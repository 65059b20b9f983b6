//! What a container's own labels may decide.

use serde::{Deserialize, Serialize};

use super::values::{switch, word};

/// Which of a container's own labels are obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerLabels {
    /// `log-capturer.exclude`
    #[serde(deserialize_with = "switch")]
    pub exclude: bool,
    /// `log-capturer.multiline`
    #[serde(deserialize_with = "switch")]
    pub multiline: bool,
    /// `log-capturer.rate-limit`
    #[serde(deserialize_with = "word")]
    pub rate_limit: RateLabel,
}

/// What a container may say of its own rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RateLabel {
    /// Nothing.
    Off,
    /// That it brings fewer lines than the configuration allows.
    Lower,
    /// Any number of lines.
    On,
}

impl Default for ContainerLabels {
    fn default() -> Self {
        Self {
            exclude: true,
            multiline: true,
            rate_limit: RateLabel::Lower,
        }
    }
}
