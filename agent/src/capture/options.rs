//! How a container's lines are treated: what the configuration says of all, and its own labels of itself.

use std::sync::Arc;

use regex::bytes::Regex;
use tracing::warn;

use super::multiline::{Limits, Multiline};
use super::rate::RateLimit;
use super::selection::Rule;
use crate::config::{self, MultilineRule, PatternError, expression};
use crate::record::Container;

/// An expression for the first line of a record, or `off`.
const MULTILINE: &str = "log-capturer.multiline";
/// Lines a second, or `off`.
const RATE_LIMIT: &str = "log-capturer.rate-limit";
const OFF: &str = "off";

/// What the configuration says.
#[derive(Debug)]
pub struct Options {
    multiline: Vec<(Rule, Arc<Regex>)>,
    limits: Limits,
    rate_limit: config::LineRate,
}

impl TryFrom<&config::Capture> for Options {
    type Error = PatternError;

    fn try_from(capture: &config::Capture) -> Result<Self, PatternError> {
        let rule = |rule: &MultilineRule| Ok((Rule::new(&rule.containers)?, Arc::new(expression(&rule.start)?)));
        Ok(Self {
            multiline: capture.multiline.rules.iter().map(rule).collect::<Result<_, _>>()?,
            limits: (&capture.multiline).into(),
            rate_limit: capture.rate_limit.clone(),
        })
    }
}

impl Options {
    /// How the container's lines become records; `None`: each by itself.
    pub fn multiline(&self, container: &Container) -> Option<Multiline> {
        let ruled = || {
            let mut rules = self.multiline.iter();
            rules
                .find(|(rule, _)| rule.matches(container))
                .map(|(_, start)| Arc::clone(start))
        };
        let start = match container.labels.get(MULTILINE).map(String::as_str) {
            Some(OFF) => None,
            Some(start) => match expression(start) {
                Ok(start) => Some(Arc::new(start)),
                Err(error) => {
                    ignored(container, MULTILINE, &error.to_string());
                    ruled()
                }
            },
            None => ruled(),
        };
        start.map(|start| Multiline::new(start, self.limits))
    }

    /// How many lines the container may bring; `None`: any number.
    pub fn rate_limit(&self, container: &Container) -> Option<RateLimit> {
        let lines = match container.labels.get(RATE_LIMIT).map(String::as_str) {
            Some(OFF) => 0,
            Some(lines) => lines.parse().ok().filter(|lines| *lines > 0).unwrap_or_else(|| {
                ignored(container, RATE_LIMIT, "must be lines a second, 1 or more, or off");
                self.rate_limit.lines_per_second
            }),
            None => self.rate_limit.lines_per_second,
        };
        (lines > 0).then(|| RateLimit::new(lines, self.rate_limit.burst))
    }
}

/// Asked for once, when a container is met: so it is told once.
fn ignored(container: &Container, label: &str, reason: &str) {
    warn!(
        container = container.name,
        label, reason, "ignoring a label that cannot be used"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ContainerId;

    fn container(name: &str, labels: &[(&str, &str)]) -> Container {
        Container {
            id: ContainerId::new("abc"),
            name: name.into(),
            image: "image".into(),
            labels: labels.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
        }
    }

    fn options(yaml: &str) -> Options {
        let capture: config::Capture = serde_saphyr::from_str(yaml).unwrap();
        Options::try_from(&capture).unwrap()
    }

    #[test]
    fn the_label_goes_before_the_rules_and_a_bad_one_is_ignored() {
        let yaml =
            "multiline: {rules: [{start: '^A', containers: {name: 'web-*'}}, {start: '^B', containers: {label: b}}]}";
        let options = options(yaml);
        for (name, labels, start) in [
            ("web-1", &[] as &[_], Some("^A")),
            ("web-1", &[("b", "")], Some("^A")),
            ("db", &[("b", "")], Some("^B")),
            ("db", &[], None),
            ("db", &[(MULTILINE, "^C")], Some("^C")),
            ("web-1", &[(MULTILINE, "^C")], Some("^C")),
            ("web-1", &[(MULTILINE, "off")], None),
            ("web-1", &[(MULTILINE, "(")], Some("^A")),
            // A billion states.
            ("web-1", &[(MULTILINE, "(((a{100}){100}){100})")], Some("^A")),
            ("db", &[(MULTILINE, "(")], None),
        ] {
            let found = options.multiline(&container(name, labels));
            assert_eq!(found.as_ref().map(Multiline::start), start, "{name} {labels:?}");
        }
    }

    #[test]
    fn a_rate_limit_is_the_labels_or_else_that_of_all() {
        for (all, label, limited) in [
            (0, None, false),
            (0, Some("5"), true),
            (0, Some("many"), false),
            (5, None, true),
            (5, Some("off"), false),
            (5, Some("0"), true),
            (5, Some("-1"), true),
        ] {
            let yaml = format!("rate_limit: {{lines_per_second: {all}}}");
            let options = options(&yaml);
            let labels: Vec<_> = label.iter().map(|label| (RATE_LIMIT, *label)).collect();
            let limit = options.rate_limit(&container("web", &labels));
            assert_eq!(limit.is_some(), limited, "{all} {label:?}");
        }
    }
}
