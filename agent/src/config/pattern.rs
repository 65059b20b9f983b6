//! Patterns for names.

use globset::GlobBuilder;
use regex::bytes::Regex;

const REGEX: &str = "regex:";

/// What is wrong with a pattern.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is no pattern: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// A glob for the whole text (`?` is one byte, `*` any number of them), or behind `regex:` an expression that may match anywhere in it.
pub fn pattern(text: &str) -> Result<Regex, PatternError> {
    let failed = |reason: String| PatternError {
        pattern: text.to_owned(),
        reason,
    };
    let expression = match text.strip_prefix(REGEX) {
        Some(expression) => expression.to_owned(),
        None => {
            let glob = GlobBuilder::new(text).literal_separator(false).build();
            glob.map_err(|error| failed(error.kind().to_string()))?
                .regex()
                .to_owned()
        }
    };
    Regex::new(&expression).map_err(|error| failed(error.to_string()))
}
