//! How a container's lines are treated: what the configuration says of all, and its own labels of itself.

use std::sync::Arc;

use regex::bytes::Regex;
use tracing::warn;

use super::multiline::{Limits, Multiline};
use super::selection::Rule;
use crate::config::{self, MultilineRule, PatternError, expression};
use crate::record::Container;

/// An expression for the first line of a record, or `off`.
const MULTILINE: &str = "log-capturer.multiline";
const OFF: &str = "off";

/// What the configuration says.
#[derive(Debug)]
pub struct Options {
    multiline: Vec<(Rule, Arc<Regex>)>,
    limits: Limits,
}

impl Options {
    pub fn new(multiline: &config::Multiline) -> Result<Self, PatternError> {
        let rule = |rule: &MultilineRule| Ok((Rule::new(&rule.containers)?, Arc::new(expression(&rule.start)?)));
        Ok(Self {
            multiline: multiline.rules.iter().map(rule).collect::<Result<_, _>>()?,
            limits: Limits {
                max_delay: multiline.max_delay,
                max_bytes: usize::try_from(multiline.max_bytes.as_u64()).unwrap_or(usize::MAX),
                max_lines: multiline.max_lines,
            },
        })
    }

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
}

/// Asked for once, when a container is met: so it is told once.
fn ignored(container: &Container, label: &str, reason: &str) {
    warn!(
        container = container.name,
        label, reason, "a label that cannot be used, and is ignored"
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

    #[test]
    fn the_label_goes_before_the_rules_and_a_bad_one_is_ignored() {
        let yaml = "rules: [{start: '^A', containers: {name: 'web-*'}}, {start: '^B', containers: {label: b}}]";
        let options = Options::new(&serde_saphyr::from_str(yaml).unwrap()).unwrap();
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
}
