//! Patterns for names.

use globset::GlobBuilder;
use regex::bytes::{Regex, RegexBuilder};

/// Bytes of a compiled expression, and of what is kept of its states.
const SIZE: usize = 1 << 20;
const REGEX: &str = "regex:";

/// What is wrong with a pattern.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?} is not a pattern: {reason}")]
pub struct PatternError {
    pattern: String,
    reason: String,
}

/// A glob for the whole text (`?` is one byte, `*` any number of them), or behind `regex:` an
/// expression that may match anywhere in it.
pub fn pattern(text: &str) -> Result<Regex, PatternError> {
    let failed = |reason: String| PatternError {
        pattern: text.to_owned(),
        reason,
    };
    let expression = match text.strip_prefix(REGEX) {
        Some(expression) => expression.to_owned(),
        None => {
            let glob = GlobBuilder::new(text).literal_separator(false).build();
            let glob = glob.map_err(|error| failed(error.kind().to_string()))?;
            // A label's value can have more than one line.
            format!("(?s){}", glob.regex())
        }
    };
    compile(text, &expression)
}

/// An expression that may match anywhere in a text.
pub fn expression(text: &str) -> Result<Regex, PatternError> {
    compile(text, text)
}

/// Containers bring expressions of their own: what one may cost is bounded.
fn compile(text: &str, expression: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(expression)
        .size_limit(SIZE)
        .dfa_size_limit(SIZE)
        .build()
        .map_err(|error| PatternError {
            pattern: text.to_owned(),
            reason: error.to_string(),
        })
}
