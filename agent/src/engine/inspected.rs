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
    /// The size at which its log's files are rotated; `None`: they are not.
    pub max_size: Option<u64>,
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
    #[serde(rename = "Config", default)]
    options: Option<BTreeMap<String, String>>,
}

impl LogConfig {
    fn max_size(&self) -> Option<u64> {
        let asked = self.options.as_ref().and_then(|options| options.get("max-size"));
        match (self.driver.as_str(), asked) {
            ("json-file" | "local", Some(asked)) => size(asked),
            // Its own.
            ("local", None) => Some(20 << 20),
            _ => None,
        }
    }
}

/// A size as Docker writes it: `10m` are so many times 1,024 × 1,024. None for `-1`, which is no limit.
fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.trim_end_matches('b').trim_end_matches('i');
    let unit = text
        .find(|character: char| character.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit);
    let shift = match unit.trim() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    let number: f64 = number.trim().parse().ok()?;
    (number > 0.0).then_some((number * (1_u64 << shift) as f64) as u64)
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
            max_size: answer.host_config.log_config.max_size(),
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
    fn the_size_at_which_a_log_is_rotated() {
        for (config, size) in [
            (
                r#"{"Type":"json-file","Config":{"max-size":"10m","max-file":"3"}}"#,
                Some(10 << 20),
            ),
            (
                r#"{"Type":"json-file","Config":{"max-size":"100KiB"}}"#,
                Some(100 << 10),
            ),
            (r#"{"Type":"json-file","Config":{"max-size":"1.5gb"}}"#, Some(3 << 29)),
            (r#"{"Type":"json-file","Config":{"max-size":"5000"}}"#, Some(5_000)),
            (r#"{"Type":"json-file","Config":{"max-size":"-1"}}"#, None),
            (r#"{"Type":"json-file","Config":null}"#, None),
            (r#"{"Type":"local","Config":{}}"#, Some(20 << 20)),
            (r#"{"Type":"journald","Config":{}}"#, None),
        ] {
            let config: LogConfig = serde_json::from_str(config).unwrap();
            assert_eq!(config.max_size(), size, "{config:?}");
        }
    }

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
