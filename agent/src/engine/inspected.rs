//! What the engine says of one container when it is asked for it alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// A container as it was created. Labels and image never change in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// Without the leading slash that the API puts there.
    pub name: String,
    /// As the container was created with it, whatever image has that tag by now.
    pub image: String,
    /// All of its labels; `None` where they could not be read.
    pub labels: Option<BTreeMap<String, String>>,
    /// The log driver, as in `json-file`.
    pub log_driver: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The folder of its own files, where the engine lays them over the image's by overlayfs.
    pub upper_dir: Option<PathBuf>,
}

/// The fields of `/containers/ID/json` that are used.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Answer {
    name: String,
    path: String,
    args: Option<Vec<String>>,
    config: Config,
    host_config: HostConfig,
    graph_driver: Option<GraphDriver>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    labels: Labels,
}

/// `false` where they were too long.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Labels {
    Known(BTreeMap<String, String>),
    Nothing(()),
    Other(serde::de::IgnoredAny),
}

impl Default for Labels {
    fn default() -> Self {
        Self::Nothing(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    log_config: LogConfig,
}

#[derive(Debug, Default, Deserialize)]
struct LogConfig {
    #[serde(rename = "Type", default)]
    driver: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GraphDriver {
    data: Option<BTreeMap<String, serde_json::Value>>,
}

impl From<Answer> for Inspected {
    fn from(answer: Answer) -> Self {
        let data = answer.graph_driver.and_then(|driver| driver.data).unwrap_or_default();
        let upper_dir = data.get("UpperDir").and_then(|path| path.as_str()).map(PathBuf::from);
        let mut command = vec![answer.path];
        command.extend(answer.args.unwrap_or_default());
        Self {
            name: answer.name.trim_start_matches('/').to_owned(),
            image: answer.config.image,
            labels: match answer.config.labels {
                Labels::Known(labels) => Some(labels),
                Labels::Nothing(()) => Some(BTreeMap::new()),
                Labels::Other(_) => None,
            },
            log_driver: answer.host_config.log_config.driver,
            command,
            upper_dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_was_created_with() {
        let text = r#"{"Id":"ab","Name":"/web","Path":"sh","Args":["-c","x"],"Image":"sha256:0f",
            "Config":{"Image":"app:1","Labels":{"name":"shop"}},"HostConfig":{"LogConfig":{"Type":"local"}},
            "GraphDriver":{"Name":"overlay2","Data":{"UpperDir":"/u","ID":1}}}"#;
        let all = Inspected::from(serde_json::from_str::<Answer>(text).unwrap());
        assert_eq!((all.name.as_str(), all.image.as_str()), ("web", "app:1"));
        assert_eq!(all.labels, Some(BTreeMap::from([("name".into(), "shop".into())])));
        assert_eq!((all.log_driver.as_str(), all.command.len()), ("local", 3));
        assert_eq!(all.upper_dir, Some("/u".into()));
        for (labels, known) in [("null", true), ("{}", true), ("false", false), (r#"{"a":1}"#, false)] {
            let text = format!(r#"{{"Config":{{"Labels":{labels}}},"GraphDriver":null}}"#);
            let all = Inspected::from(serde_json::from_str::<Answer>(&text).unwrap());
            assert_eq!(all.labels.is_some(), known, "{labels}");
        }
    }
}
