//! Which containers something is for.

use serde::{Deserialize, Serialize};

use super::pattern::pattern;
use super::place::Problems;

/// Matches a container if all that is given matches. A pattern is a glob for the whole text, or behind `regex:` an
/// expression that may match anywhere in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// A pattern for the container's name.
    pub name: Option<String>,
    /// A pattern for its image.
    pub image: Option<String>,
    /// The key of a label that it must have, or `key=pattern` for the label's value.
    pub label: Option<String>,
    /// A pattern for its compose project.
    pub project: Option<String>,
}

impl Selector {
    /// Tells what is wrong with the selectors at a key.
    pub fn check_all(selectors: &[Self], key: &str, problems: &mut Problems) {
        problems.require(
            selectors.iter().all(|selector| *selector != Self::default()),
            key,
            "must give each entry at least one of name, image, label, project",
        );
        check_patterns(selectors.iter().flat_map(Self::patterns), key, problems);
    }

    /// All patterns that it has.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        let label = self.label.as_deref().and_then(|label| label.split_once('='));
        let whole = [&self.name, &self.image, &self.project];
        whole
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain(label.map(|(_, value)| value))
    }
}

/// What is wrong with patterns.
pub(super) fn check_patterns<'a>(patterns: impl Iterator<Item = &'a str>, key: &str, problems: &mut Problems) {
    for error in patterns.filter_map(|text| pattern(text).err()) {
        problems.add(key, error.to_string());
    }
}
