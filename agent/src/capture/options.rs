//! How a container's lines are treated: what the configuration says of all containers, and what a
//! container's own labels say of it, as far as the configuration allows them to.

use std::sync::Arc;

use regex::bytes::Regex;
use tracing::warn;

use super::expressions::{Expression, Expressions};
use super::labels::{self, Asked, EXCLUDE, MULTILINE, RATE_LIMIT};
use super::multiline::{Limits, Multiline, Start};
use super::rate::RateLimit;
use super::selection::Rule;
use crate::config::{self, ContainerLabels, MultilineRule, PatternError, RateLabel, expression};
use crate::record::Container;

/// What the configuration says.
#[derive(Debug)]
pub struct Options {
    multiline: Vec<(Rule, Arc<Regex>)>,
    limits: Limits,
    rate_limit: config::LineRate,
    obeyed: ContainerLabels,
    expressions: Expressions,
}

/// What holds for one container.
#[derive(Debug, Default)]
pub struct Treatment {
    /// How its lines become records; `None`: each by itself.
    pub multiline: Option<Multiline>,
    /// How many lines it may bring; `None`: any number.
    pub rate_limit: Option<RateLimit>,
    /// To be kept for as long as the container is there, see [`Expression`].
    pub refused: Option<Arc<Expression>>,
}

impl TryFrom<&config::Capture> for Options {
    type Error = PatternError;

    /// Compiles the expressions of a configuration. A malformed one is an error, but a
    /// configuration that was loaded has none.
    fn try_from(capture: &config::Capture) -> Result<Self, PatternError> {
        let rule = |rule: &MultilineRule| Ok((Rule::new(&rule.containers)?, Arc::new(expression(&rule.start)?)));
        Ok(Self {
            multiline: capture.multiline.rules.iter().map(rule).collect::<Result<_, _>>()?,
            limits: (&capture.multiline).into(),
            rate_limit: capture.rate_limit.clone(),
            obeyed: capture.container_labels,
            expressions: Expressions::default(),
        })
    }
}

impl Options {
    /// Asked for once, when a container is met: labels that are ignored are reported here.
    pub fn treatment(&self, container: &Container) -> Treatment {
        match labels::exclude(container) {
            Asked::Unclear(reason) => ignored(container, EXCLUDE, reason),
            Asked::For(()) if !self.obeyed.exclude => {
                ignored(container, EXCLUDE, "capture.container_labels.exclude is off");
            }
            _ => {}
        }
        let lines = self.lines_per_second(container);
        let mut treatment = Treatment {
            rate_limit: (lines > 0).then(|| RateLimit::new(lines, self.rate_limit.burst)),
            ..Treatment::default()
        };
        let start = match labels::multiline(container) {
            Asked::Nothing => self.ruled(container),
            _ if !self.obeyed.multiline => {
                ignored(container, MULTILINE, "capture.container_labels.multiline is off");
                self.ruled(container)
            }
            Asked::For(text) => {
                let expression = self.expressions.get(text);
                match expression.refusal() {
                    None => Some(Start::Label(expression)),
                    Some(refusal) => {
                        ignored(container, MULTILINE, &refusal.to_string());
                        treatment.refused = Some(expression);
                        self.ruled(container)
                    }
                }
            }
            Asked::Off | Asked::Unclear(_) => None,
        };
        treatment.multiline = start.map(|start| Multiline::new(start, self.limits));
        treatment
    }

    /// What the first rule that matches says of a record's first line.
    fn ruled(&self, container: &Container) -> Option<Start> {
        let mut rules = self.multiline.iter();
        let (_, start) = rules.find(|(rule, _)| rule.matches(container))?;
        Some(Start::Rule(Arc::clone(start)))
    }

    /// 0 is no limit.
    fn lines_per_second(&self, container: &Container) -> u32 {
        let configured = self.rate_limit.lines_per_second;
        let (asked, is_lower) = match labels::rate_limit(container) {
            Asked::Nothing => return configured,
            Asked::Unclear(reason) => {
                ignored(container, RATE_LIMIT, reason);
                return configured;
            }
            Asked::Off => (0, configured == 0),
            Asked::For(lines) => (lines, configured == 0 || lines <= configured),
        };
        let reason = match self.obeyed.rate_limit {
            RateLabel::On => return asked,
            RateLabel::Lower if is_lower => return asked,
            RateLabel::Lower => "capture.container_labels.rate_limit is lower, and this is above the configured limit",
            RateLabel::Off => "capture.container_labels.rate_limit is off",
        };
        ignored(container, RATE_LIMIT, reason);
        configured
    }
}

fn ignored(container: &Container, label: &str, reason: &str) {
    warn!(container = container.name, label, reason, "a label is ignored");
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
        let rules = "[{start: '^A', containers: {name: 'web-*'}}, {start: '^B', containers: {label: b}}]";
        for (obeyed, name, labels, start) in [
            (true, "web-1", &[] as &[_], Some("^A")),
            (true, "web-1", &[("b", "")], Some("^A")),
            (true, "db", &[("b", "")], Some("^B")),
            (true, "db", &[], None),
            (true, "db", &[(MULTILINE, "^C")], Some("^C")),
            (true, "web-1", &[(MULTILINE, "^C")], Some("^C")),
            (true, "web-1", &[(MULTILINE, "off")], None),
            (true, "web-1", &[(MULTILINE, "false")], None),
            (true, "web-1", &[(MULTILINE, "(")], Some("^A")),
            // A billion states.
            (true, "web-1", &[(MULTILINE, "(((a{100}){100}){100})")], Some("^A")),
            (true, "db", &[(MULTILINE, "(")], None),
            (false, "web-1", &[(MULTILINE, "^C")], Some("^A")),
            (false, "web-1", &[(MULTILINE, "off")], Some("^A")),
            (false, "db", &[(MULTILINE, "^C")], None),
        ] {
            let yaml = format!("{{multiline: {{rules: {rules}}}, container_labels: {{multiline: {obeyed}}}}}");
            let found = options(&yaml).treatment(&container(name, labels)).multiline;
            assert_eq!(found.as_ref().map(Multiline::start), start, "{name} {labels:?}");
        }
    }

    #[test]
    fn a_label_lowers_the_rate_limit_and_lifts_it_where_that_is_allowed() {
        // The configured limit, the label, and the limits that follow for off, lower and on.
        for (configured, label, limits) in [
            (0, None, [0, 0, 0]),
            (0, Some("5"), [0, 5, 5]),
            (0, Some("off"), [0, 0, 0]),
            (0, Some("many"), [0, 0, 0]),
            (5, None, [5, 5, 5]),
            (5, Some("4"), [5, 4, 4]),
            (5, Some("6"), [5, 5, 6]),
            (5, Some("off"), [5, 5, 0]),
            (5, Some("false"), [5, 5, 0]),
            (5, Some("0"), [5, 5, 5]),
            (5, Some("-1"), [5, 5, 5]),
        ] {
            for (obeyed, limit) in ["off", "lower", "on"].into_iter().zip(limits) {
                let yaml = format!(
                    "{{rate_limit: {{lines_per_second: {configured}}}, container_labels: {{rate_limit: {obeyed}}}}}"
                );
                let labels: Vec<_> = label.iter().map(|label| (RATE_LIMIT, *label)).collect();
                let found = options(&yaml).lines_per_second(&container("web", &labels));
                assert_eq!(found, limit, "{configured} {label:?} {obeyed}");
            }
        }
    }

    #[test]
    fn a_refused_expression_is_kept_with_its_container() {
        let options = options("{}");
        let heavy = container("web", &[(MULTILINE, "a[ab]{10000}[^ab]")]);
        let (first, second) = (options.treatment(&heavy), options.treatment(&heavy));
        assert!(first.multiline.is_none());
        assert!(Arc::ptr_eq(&first.refused.unwrap(), &second.refused.unwrap()));
    }
}
