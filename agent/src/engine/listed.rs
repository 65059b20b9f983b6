//! The list of containers. Each entry is read by itself, and each of its fields: what one container has in it spoils
//! nothing of the others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::record::{Container, ContainerId, Time};

/// What is used of an entry of `/containers/json`. Our own, because a model that knows every
/// field refuses the engines that fill one of them otherwise.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    created: i64,
    #[serde(default)]
    host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    #[serde(default)]
    network_mode: String,
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
    /// As in `bridge` or `container:<id>`.
    pub network_mode: String,
    /// The fields of the entry that could not be read. The container is as if it had none of them.
    pub unread: Vec<&'static str>,
}

impl Listed {
    /// Whether the image is told by its id. An engine does so where the tag that the container was created with is
    /// another image's by now.
    pub fn image_is_an_id(&self) -> bool {
        self.container.image.starts_with("sha256:")
    }
}

/// All containers.
#[derive(Debug, Default)]
pub struct List {
    /// Those whose id could be read.
    pub containers: Vec<Listed>,
    /// What is wrong with each of the others, in words.
    pub unreadable: Vec<String>,
}

impl List {
    /// Takes the text of an entry.
    pub(super) fn add(&mut self, entry: &[u8]) {
        let number = self.containers.len() + self.unreadable.len() + 1;
        match read(entry) {
            Ok((summary, unread)) => self.containers.push(Listed::new(summary, unread)),
            Err(why) => self.unreadable.push(format!("entry {number}: {why}")),
        }
    }
}

/// An entry, and the names of the fields that cannot be read.
fn read(entry: &[u8]) -> Result<(Summary, Vec<&'static str>), String> {
    if let Ok(summary) = serde_json::from_slice(entry) {
        return Ok((summary, Vec::new()));
    }
    // Bytes that are no text are in the value of one field only.
    let text = String::from_utf8_lossy(entry);
    let mut fields: Map<String, Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let mut unread = Vec::new();
    let summary = Summary {
        id: field(&mut fields, "Id", &mut unread),
        names: field(&mut fields, "Names", &mut unread),
        image: field(&mut fields, "Image", &mut unread),
        labels: field(&mut fields, "Labels", &mut unread),
        state: field(&mut fields, "State", &mut unread),
        created: field(&mut fields, "Created", &mut unread),
        host_config: field(&mut fields, "HostConfig", &mut unread),
    };
    if summary.id.is_empty() {
        return Err("it has no id".to_owned());
    }
    Ok((summary, unread))
}

fn field<T: Default + DeserializeOwned>(
    fields: &mut Map<String, Value>,
    name: &'static str,
    unread: &mut Vec<&'static str>,
) -> T {
    let Some(value) = fields.remove(name) else {
        return T::default();
    };
    serde_json::from_value(value).unwrap_or_else(|_| {
        unread.push(name);
        T::default()
    })
}

impl Listed {
    fn new(summary: Summary, unread: Vec<&'static str>) -> Self {
        // Where it is not said how a container is, reading its log shows it.
        let running =
            unread.contains(&"State") || ["running", "paused", "restarting"].contains(&summary.state.as_str());
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
            network_mode: summary.host_config.network_mode,
            unread,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::shorten::elements;
    use super::*;

    fn list(text: &[u8]) -> List {
        let mut list = List::default();
        elements(text).unwrap().for_each(|entry| list.add(entry));
        list
    }

    #[test]
    fn a_summary_is_read_leniently() {
        let all = list(
            br#"[{"Id":"ab","Names":["/x/alias","/web"],"Image":"nginx","Labels":null,"New":1,
                        "State":"running"}, {"Id":"cd","State":"exited"}]"#,
        );
        let all = all.containers;
        assert_eq!(all[0].container.name, "web");
        assert_eq!(all[0].container.image, "nginx");
        assert!(all[0].running);
        assert_eq!(all[1].container.name, "");
        assert!(!all[1].running);
    }

    #[test]
    fn an_entry_that_cannot_be_read_spoils_no_other() {
        let bad = [
            r#"{"Id":"b1","Names":["/bad"],"Image":null,"Labels":{"a":"b"},"State":"running"}"#,
            r#"{"Id":"b2","Names":["/bad"],"Image":"x","Labels":{"a":1},"State":"running"}"#,
            r#"{"Id":"b3","Names":["/bad"],"Image":"x","Labels":false,"State":"running"}"#,
            r#"{"Id":"b4","Names":"bad","Image":"x","State":["running"],"Created":"now"}"#,
            r#"{"Id":"b5","Names":["/bad"],"Image":"x","Labels":{"a":"\ud800"},"State":"running","HostConfig":1}"#,
            r#"{"Id":null,"Names":["/lost"]}"#,
            r#"nonsense"#,
            r#"{"Names":["/lost"]}"#,
        ];
        let good = r#"{"Id":"a","Names":["/good"],"Image":"nginx","State":"running"}"#;
        let text = format!("[{good},{},{good}]", bad.join(","));
        let list = list(text.as_bytes());
        let known: Vec<_> = list
            .containers
            .iter()
            .map(|listed| (listed.container.id.as_str(), listed.running, listed.unread.clone()))
            .collect();
        let expected: [(&str, bool, Vec<&str>); 7] = [
            ("a", true, vec![]),
            ("b1", true, vec!["Image"]),
            ("b2", true, vec!["Labels"]),
            ("b3", true, vec!["Labels"]),
            ("b4", true, vec!["Names", "State", "Created"]),
            ("b5", true, vec!["HostConfig"]),
            ("a", true, vec![]),
        ];
        assert_eq!(known[..5], expected[..5]);
        // A half of a letter is no text at all: the entry is one that cannot be read, or its field is.
        assert_eq!(known.last(), expected.last());
        assert!(list.unreadable.len() >= 3, "{:?}", list.unreadable);
        assert_eq!(list.containers.len() + list.unreadable.len(), 10);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let mut text = br#"[{"Id":"a","Names":["/bad "#.to_vec();
        text.extend([0xff, 0xfe]);
        text.extend(br#""],"Image":"x"},{"Id":"b"}]"#);
        let list = list(&text);
        assert_eq!(list.containers.len(), 2);
        assert_eq!(list.containers[0].container.name, "bad \u{fffd}\u{fffd}");
    }
}
