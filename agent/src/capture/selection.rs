//! Which containers are captured: by name, image, label and compose project.

use regex::bytes::Regex;

use super::labels::{self, Asked};

use crate::config::{self, PatternError, Selector, pattern};
use crate::record::Container;

/// Where compose writes its project's name.
const PROJECT: &str = "com.docker.compose.project";

/// A container is captured if an `include` matches, or there is none, and no `exclude` does.
#[derive(Debug, Default)]
pub struct Selection {
    /// Whether a container can exclude itself by its label.
    obeys_labels: bool,
    include: Vec<Rule>,
    exclude: Vec<Rule>,
}

/// All that is given must match.
#[derive(Debug)]
pub(super) struct Rule {
    name: Option<Regex>,
    image: Option<Regex>,
    /// The key, and the value where one is asked for.
    label: Option<(String, Option<Regex>)>,
    project: Option<Regex>,
}

impl TryFrom<&config::Capture> for Selection {
    type Error = PatternError;

    fn try_from(capture: &config::Capture) -> Result<Self, PatternError> {
        let obeys_labels = capture.container_labels.exclude;
        Self::new(&capture.include, &capture.exclude, obeys_labels)
    }
}

impl Selection {
    /// Compiles the patterns of the selectors. A malformed one is an error, but a
    /// configuration that was loaded has none.
    fn new(include: &[Selector], exclude: &[Selector], obeys_labels: bool) -> Result<Self, PatternError> {
        let rules = |selectors: &[Selector]| selectors.iter().map(Rule::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            obeys_labels,
            include: rules(include)?,
            exclude: rules(exclude)?,
        })
    }

    /// Whether a container is captured.
    pub fn selects(&self, container: &Container) -> bool {
        let opted_out = self.obeys_labels && labels::exclude(container) == Asked::For(());
        let any = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(container));
        !opted_out && (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Rule {
    pub(super) fn new(selector: &Selector) -> Result<Self, PatternError> {
        let compile = |text: &Option<String>| text.as_deref().map(pattern).transpose();
        let label = selector.label.as_deref().map(|label| match label.split_once('=') {
            Some((key, value)) => pattern(value).map(|value| (key.to_owned(), Some(value))),
            None => Ok((label.to_owned(), None)),
        });
        Ok(Self {
            name: compile(&selector.name)?,
            image: compile(&selector.image)?,
            label: label.transpose()?,
            project: compile(&selector.project)?,
        })
    }

    pub(super) fn matches(&self, container: &Container) -> bool {
        let fits = |wanted: &Option<Regex>, value: Option<&str>| match wanted {
            Some(wanted) => value.is_some_and(|value| wanted.is_match(value.as_bytes())),
            None => true,
        };
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        fits(&self.name, Some(&container.name))
            && (fits(&self.image, Some(&container.image)) || fits(&self.image, without_digest(&container.image)))
            && fits(&self.project, label(PROJECT))
            && self.label.as_ref().is_none_or(|(key, value)| {
                let found = label(key);
                found.is_some() && fits(value, found)
            })
    }
}

/// Swarm pins an image to the digest that its tag had: `nginx:1.27@sha256:…`. A rule for the tag is for it, too.
fn without_digest(image: &str) -> Option<&str> {
    image.split_once("@sha256:").map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::labels::EXCLUDE;
    use super::*;
    use crate::record::ContainerId;

    fn container(name: &str, image: &str, labels: &[(&str, &str)]) -> Container {
        Container {
            id: ContainerId::new("abc"),
            name: name.into(),
            image: image.into(),
            labels: labels.iter().map(|&(k, v)| (k.into(), v.into())).collect(),
        }
    }

    fn selector(yaml: &str) -> Selector {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn selects(include: &[&str], exclude: &[&str], container: &Container) -> bool {
        let selectors = |texts: &[&str]| texts.iter().map(|text| selector(text)).collect::<Vec<_>>();
        Selection::new(&selectors(include), &selectors(exclude), true)
            .unwrap()
            .selects(container)
    }

    #[test]
    fn patterns() {
        let web = container(
            "web-1",
            "registry.local/team/nginx:1.27",
            &[(PROJECT, "shop"), ("tier", "front")],
        );
        for (rule, expected) in [
            ("name: web-*", true),
            ("name: web", false),
            ("name: 'regex:^web-\\d$'", true),
            ("name: 'regex:eb'", true),
            ("image: '*nginx*'", true),
            ("image: nginx*", false),
            ("label: tier", true),
            ("label: tier=front", true),
            ("label: tier=f*", true),
            ("label: tier=back", false),
            ("label: other", false),
            ("project: shop", true),
            ("project: sh", false),
            ("{name: web-*, project: shop}", true),
            ("{name: web-*, project: other}", false),
        ] {
            assert_eq!(selects(&[rule], &[], &web), expected, "include {rule}");
            assert_eq!(selects(&[], &[rule], &web), !expected, "exclude {rule}");
        }
        assert!(!selects(&["name: web-*"], &["label: tier"], &web));
        assert!(selects(&["name: db", "name: web-*"], &[], &web));
    }

    #[test]
    fn an_image_that_is_pinned_to_a_digest_matches_by_its_tag() {
        let pinned = container("web.1", &format!("nginx:1.27@sha256:{}", "0f".repeat(32)), &[]);
        for (rule, expected) in [
            ("image: nginx:1.27", true),
            ("image: 'regex:^nginx:1\\.27$'", true),
            ("image: 'nginx:1.27@sha256:0f*'", true),
            ("image: nginx:1.2", false),
            ("image: 'nginx:1.27@sha256:aa*'", false),
        ] {
            assert_eq!(selects(&[rule], &[], &pinned), expected, "include {rule}");
            assert_eq!(selects(&[], &[rule], &pinned), !expected, "exclude {rule}");
        }
    }

    #[test]
    fn a_container_can_opt_out() {
        assert!(selects(&[], &[], &container("a", "b", &[])));
        assert!(selects(&[], &[], &container("a", "b", &[(EXCLUDE, "false")])));
        for value in ["true", "on"] {
            let opts_out = container("a", "b", &[(EXCLUDE, value)]);
            assert!(!selects(&["name: a"], &[], &opts_out), "{value}");
            let not_obeyed = Selection::new(&[], &[], false).unwrap();
            assert!(not_obeyed.selects(&opts_out), "{value}");
        }
        // Not understood, and reported.
        assert!(selects(&[], &[], &container("a", "b", &[(EXCLUDE, "yes")])));
    }

    #[test]
    fn other_letters_are_letters() {
        assert!(selects(
            &["label: who=gr*ße*"],
            &[],
            &container("a", "b", &[("who", "größe 漢字")])
        ));
    }

    #[test]
    fn bad_patterns_are_told() {
        for bad in ["name: 'regex:('", "name: 'a[b'"] {
            assert!(Selection::new(&[selector(bad)], &[], true).is_err(), "{bad}");
        }
    }
}
