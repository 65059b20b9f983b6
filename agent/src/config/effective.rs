//! The configuration that is in force, with the place where each value was said.

use std::fmt::Write as _;

use serde_json::Value;

use super::load::{Gathered, Sources};
use super::overrides::tree;
use super::place::{Invalid, Place};

/// What is shown in place of a secret.
const HIDDEN: &str = "(hidden)";

impl Sources {
    /// Every key in YAML, each with a comment that says where its value comes from. It can be used as a configuration
    /// file. Secrets are left out.
    pub fn effective(&self) -> Result<String, Invalid> {
        let gathered = self.gather()?;
        let mut text = String::new();
        section(&tree(&gathered.config), &mut String::new(), 0, &gathered, &mut text);
        Ok(text)
    }
}

fn section(value: &Value, prefix: &mut String, depth: usize, gathered: &Gathered<'_>, text: &mut String) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let length = prefix.len();
        prefix.push_str(name);
        // Writing to a string cannot fail.
        let _ = write!(text, "{:1$}{name}:", "", 2 * depth);
        if value.is_object() {
            text.push('\n');
            prefix.push('.');
            section(value, prefix, depth + 1, gathered, text);
        } else {
            let place = origin(&gathered.place(prefix));
            let _ = writeln!(text, " {}  # {place}", without_secrets(name, value));
        }
        prefix.truncate(length);
    }
}

/// An override is shown without its value, which stands before it and may be a secret.
fn origin(place: &Place) -> String {
    let text = match place {
        Place::Override(said) => said.split('=').next().unwrap_or_default().to_owned(),
        place => place.to_string(),
    };
    text.replace(char::is_control, " ")
}

/// JSON, which is YAML as well.
fn without_secrets(name: &str, value: &Value) -> Value {
    match value {
        Value::String(text) if is_secret(name) && !text.is_empty() => HIDDEN.into(),
        Value::Array(items) => items.iter().map(|item| without_secrets(name, item)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| (name.clone(), without_secrets(name, value)))
            .collect(),
        value => value.clone(),
    }
}

/// The name of a file that holds a secret is none.
fn is_secret(name: &str) -> bool {
    let words = ["password", "secret", "token", "bearer"];
    words.iter().any(|word| name.contains(word)) && !name.ends_with("_file")
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn each_value_has_its_origin_and_all_of_it_is_a_configuration_again() {
        let dir = std::env::temp_dir().join(format!("lc-effective-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("c.yaml");
        std::fs::write(&path, "host: \"a # b\"\ncapture:\n  rotation:\n    interval: 2m\n").unwrap();
        let sources = Sources {
            file: Some(path.clone()),
            overrides: vec!["docker.host=unix:///x".into(), "sinks=[{type: file, path: /y}]".into()],
        };
        let text = sources.effective().unwrap();
        let (config, ()) = sources.load(|_| Ok(())).unwrap();
        std::fs::remove_dir_all(&dir).unwrap();
        for line in [
            format!("host: \"a # b\"  # {}:1:1", path.display()),
            format!("    interval: \"2m\"  # {}:4:5", path.display()),
            "  host: \"unix:///x\"  # --set docker.host".to_owned(),
            "    max_size: 4  # default".to_owned(),
            "sinks: [{\"path\":\"/y\",\"type\":\"file\"}]  # --set sinks".to_owned(),
        ] {
            assert!(text.lines().any(|told| told == line), "no {line:?} in\n{text}");
        }
        assert_eq!(serde_saphyr::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn secrets_are_hidden_at_every_depth() {
        let value: Value =
            serde_json::from_str(r#"[{"auth": {"bearer": "s3cret", "bearer_file": "/f", "password": ""}}]"#).unwrap();
        let shown = without_secrets("sinks", &value).to_string();
        assert_eq!(
            shown,
            r#"[{"auth":{"bearer":"(hidden)","bearer_file":"/f","password":""}}]"#
        );
        assert_eq!(
            origin(&Place::Override("--set a.token=s3\ncret".into())),
            "--set a.token"
        );
    }
}
