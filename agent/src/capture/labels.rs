//! A container's own labels that the agent understands. Whether they are obeyed is the
//! configuration's to say.

use crate::record::Container;

/// `true`: the container is not captured.
pub(super) const EXCLUDE: &str = "log-capturer.exclude";
/// An expression for the first line of a record, or `off`.
pub(super) const MULTILINE: &str = "log-capturer.multiline";
/// Lines a second, or `off`.
pub(super) const RATE_LIMIT: &str = "log-capturer.rate-limit";

/// What a label asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<T> {
    /// The container has no such label.
    Nothing,
    Off,
    For(T),
    /// The value is not understood. In words, what it must be.
    Unclear(&'static str),
}

pub(super) fn exclude(container: &Container) -> Asked<()> {
    match value(container, EXCLUDE) {
        None => Asked::Nothing,
        Some("true" | "on") => Asked::For(()),
        Some(value) if is_off(value) => Asked::Off,
        Some(_) => Asked::Unclear("must be true or false"),
    }
}

pub(super) fn multiline(container: &Container) -> Asked<&str> {
    match value(container, MULTILINE) {
        None => Asked::Nothing,
        Some(value) if is_off(value) => Asked::Off,
        Some(expression) => Asked::For(expression),
    }
}

pub(super) fn rate_limit(container: &Container) -> Asked<u32> {
    match value(container, RATE_LIMIT) {
        None => Asked::Nothing,
        Some(value) if is_off(value) => Asked::Off,
        Some(value) => match value.parse() {
            Ok(lines) if lines > 0 => Asked::For(lines),
            _ => Asked::Unclear("must be lines a second, 1 or more, or off"),
        },
    }
}

fn value<'a>(container: &'a Container, label: &str) -> Option<&'a str> {
    container.labels.get(label).map(String::as_str)
}

/// A compose file's `off` is `false` by the time that it is a label, where YAML 1.1 was read.
fn is_off(value: &str) -> bool {
    matches!(value, "off" | "false")
}
