//! Single values from outside the file: `LOG_CAPTURER_...` variables, and `--set key=value`.

use std::collections::HashSet;

use serde_json::Value;

use super::Config;
use super::place::{Invalid, Place};

const VARIABLE_PREFIX: &str = "LOG_CAPTURER_";

/// A value from outside the file.
#[derive(Debug)]
pub(super) struct Override {
    /// With dots.
    pub key: String,
    /// In YAML.
    pub value: String,
    pub said_as: String,
}

impl Override {
    /// `key=value`, as `--set` takes it.
    pub(super) fn from_argument(text: &str) -> Result<Self, Invalid> {
        let said_as = format!("--set {text}");
        match text.split_once('=') {
            Some((key, value)) => Ok(Self {
                key: key.trim().to_owned(),
                value: value.to_owned(),
                said_as,
            }),
            None => Err(Invalid::Malformed {
                place: Place::Override(said_as),
                message: "expected key=value, for example docker.host=unix:///run/docker.sock".to_owned(),
            }),
        }
    }

    /// Whether it says the value of `key`, or of a section that `key` is in.
    pub(super) fn covers(&self, key: &str) -> bool {
        key.strip_prefix(&self.key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    pub(super) fn apply(&self, config: &Config) -> Result<Config, Invalid> {
        let refuse = |message: String| Invalid::Malformed {
            place: Place::Override(self.said_as.clone()),
            message,
        };
        let value: Value = serde_saphyr::from_str(&self.value)
            .map_err(|error| refuse(first_line(&error.without_snippet().to_string())))?;
        let mut tree = tree(config);
        let mut node = &mut tree;
        for part in self.key.split('.') {
            let known = node.as_object().map(|map| {
                let keys: Vec<&str> = map.keys().map(String::as_str).collect();
                keys.join(", ")
            });
            node = node.get_mut(part).ok_or_else(|| match known {
                Some(known) => refuse(format!("unknown key {part:?}; there are {known}")),
                None => refuse(format!("{part:?} is below a value that has no keys")),
            })?;
        }
        // A string in the tree stays a string, whatever YAML takes the new value for: `off` is one.
        *node = match (&*node, value) {
            (_, Value::String(text)) => Value::String(text),
            (Value::String(_), _) => Value::String(self.value.trim().to_owned()),
            (_, value) => value,
        };
        serde_json::from_value(tree).map_err(|error| refuse(error.to_string()))
    }
}

/// `LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL` and the other variables that name a key.
pub(super) fn variables() -> Vec<Override> {
    keys()
        .into_iter()
        .filter_map(|key| {
            let name = variable(&key);
            let value = std::env::var(&name).ok()?;
            let said_as = format!("{name}={value}");
            Some(Override { key, value, said_as })
        })
        .collect()
}

/// Variables with the prefix that name no key: most likely they are misspelt. Some can belong to
/// another program, so they are reported and not refused.
pub fn unknown_variables() -> Vec<String> {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    unknown(names)
}

fn unknown(names: impl Iterator<Item = String>) -> Vec<String> {
    let known: HashSet<String> = keys().iter().map(|key| variable(key)).collect();
    let mut unknown: Vec<String> = names
        .filter(|name| name.starts_with(VARIABLE_PREFIX) && !known.contains(name))
        .collect();
    unknown.sort();
    unknown
}

fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

fn keys() -> Vec<String> {
    leaves(&tree(&Config::default()))
}

/// The keys whose values are not the same in both, with dots. A list is one value.
pub fn changed(one: &Config, other: &Config) -> Vec<String> {
    let (one, other) = (tree(one), tree(other));
    let value = |tree: &Value, key: &str| tree.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
    let mut keys = leaves(&other);
    keys.retain(|key| value(&one, key) != value(&other, key));
    keys
}

pub(super) fn tree(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or(Value::Null)
}

/// The keys of a tree, with dots. A list is one value.
fn leaves(tree: &Value) -> Vec<String> {
    fn collect(value: &Value, prefix: &mut String, keys: &mut Vec<String>) {
        let Value::Object(map) = value else {
            keys.push(prefix.clone());
            return;
        };
        for (key, value) in map {
            let length = prefix.len();
            if length > 0 {
                prefix.push('.');
            }
            prefix.push_str(key);
            collect(value, prefix, keys);
            prefix.truncate(length);
        }
    }
    let mut keys = Vec::new();
    collect(tree, &mut String::new(), &mut keys);
    keys
}

/// What is wrong, without the lines that show where in the text.
pub(super) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_yaml_shows_every_key_with_its_default() {
        let text = include_str!("../../../configs/default.yaml");
        let shown: Config = serde_saphyr::from_str(text).unwrap();
        assert_eq!(shown, Config::default());

        let document: Value = serde_saphyr::from_str(text).unwrap();
        let (mut shown, mut known) = (leaves(&document), keys());
        shown.sort();
        known.sort();
        assert_eq!(shown, known, "configs/default.yaml must show every key");
    }

    #[test]
    fn variables_that_name_no_key_are_found() {
        let names = [
            "LOG_CAPTURER_CAPTURE_ROTATION_INTERVALL",
            "LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL",
            "LOG_CAPTURER_HOST",
            "LOG_CAPTURER_CAPTURE",
            "PATH",
        ];
        let found = unknown(names.into_iter().map(str::to_owned));
        assert_eq!(
            found,
            ["LOG_CAPTURER_CAPTURE", "LOG_CAPTURER_CAPTURE_ROTATION_INTERVALL"]
        );
    }

    #[test]
    fn keys_that_changed_are_found_at_every_depth() {
        let one = Config::default();
        assert_eq!(changed(&one, &one), [""; 0]);
        let mut other = one.clone();
        other.host = "other".into();
        other.capture.rotation.interval *= 2;
        other.capture.labels.clear();
        assert_eq!(
            changed(&one, &other),
            ["capture.labels", "capture.rotation.interval", "host"]
        );
    }

    #[test]
    fn an_override_covers_its_key_and_what_is_below() {
        let set = Override::from_argument("docker.pool={}").unwrap();
        assert!(set.covers("docker.pool") && set.covers("docker.pool.max_size"));
        assert!(!set.covers("docker.pools") && !set.covers("docker"));
    }
}
