//! An entry of the list of containers.

use serde::Deserialize;

use crate::record::{Container, ContainerId, Time};

/// What is used of an entry of `/containers/json`. Our own, because a model that knows every
/// field refuses the engines that fill one of them otherwise.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    created: i64,
}

/// A container, and whether its log can get more lines before its next start.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The container as records describe it.
    pub container: Container,
    /// Its log can get more lines now.
    pub running: bool,
    /// To the second.
    pub created: Time,
}

impl From<Summary> for Listed {
    fn from(summary: Summary) -> Self {
        let running = ["running", "paused", "restarting"].contains(&summary.state.as_str());
        let names = summary.names.unwrap_or_default();
        // A link's alias is /other/name; the container's own name has one slash.
        let own = names.iter().find(|name| name.matches('/').count() <= 1);
        let name = own.or(names.first()).map_or("", |name| name.trim_start_matches('/'));
        let container = Container {
            id: ContainerId::new(&summary.id),
            name: name.to_owned(),
            image: summary.image,
            labels: summary.labels.unwrap_or_default(),
        };
        Listed {
            container,
            running,
            created: Time(summary.created.saturating_mul(1_000_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_read_leniently() {
        let text = r#"[{"Id":"ab","Names":["/x/alias","/web"],"Image":"nginx","Labels":null,"New":1,
                        "State":"running"}, {"Id":"cd","State":"exited"}]"#;
        let all: Vec<Summary> = serde_json::from_str(text).unwrap();
        let all: Vec<Listed> = all.into_iter().map(Listed::from).collect();
        assert_eq!(all[0].container.name, "web");
        assert_eq!(all[0].container.image, "nginx");
        assert!(all[0].running);
        assert_eq!(all[1].container.name, "");
        assert!(!all[1].running);
    }
}
