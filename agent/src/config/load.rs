//! Where a configuration comes from: the file, then `LOG_CAPTURER_...` variables, then `--set`. What none of them says of the
//! engine, the docker client's own variables may say.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Config, environment, locate, validate};

const VARIABLE_PREFIX: &str = "LOG_CAPTURER_";

/// Everything that has a say in the configuration.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// `key=value`, the key with dots, the value in YAML.
    pub overrides: Vec<String>,
}

/// A configuration that cannot be used: where, and why.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// `path:line:column: what is wrong`, as compilers say it.
    #[error("{place}: {message}")]
    Value { place: Place, message: String },
    #[error("{}", list(.0))]
    Contradiction(Vec<Problem>),
}

/// One thing that is wrong with values that are well-formed each.
#[derive(Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The key with dots.
    pub key: &'static str,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    lines.join("\n")
}

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    File {
        path: PathBuf,
        line: u64,
        column: u64,
    },
    /// A variable or a `--set`, as the user wrote it.
    Override(String),
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Place::Override(text) => f.write_str(&without_password(text)),
            Place::Default => f.write_str("default"),
        }
    }
}

/// An address with a user's name in it is refused; its password is not repeated.
fn without_password(text: &str) -> Cow<'_, str> {
    // Where no scheme is said it begins with the value.
    let begin = ["://", "="].iter().find_map(|mark| Some(text.find(mark)? + mark.len()));
    let (before, address) = text.split_at(begin.unwrap_or_default());
    match address.rsplit_once('@') {
        Some((_, host)) => format!("{before}…@{host}").into(),
        None => text.into(),
    }
}

/// A value from outside the file.
pub struct Override {
    pub key: String,
    pub value: String,
    pub said_as: String,
}

impl Sources {
    /// Reads everything and checks it. `prepare` finds out what only those can who will use the values, and tells the key of
    /// one that is of no use.
    pub fn load<T>(
        &self,
        prepare: impl FnOnce(&Config) -> Result<T, (&'static str, String)>,
    ) -> Result<(Config, T), ConfigError> {
        let text = match &self.file {
            Some(path) => Some((path.as_path(), read(path)?)),
            None => None,
        };
        let mut config = match &text {
            Some((path, text)) => parse(path, text)?,
            None => Config::default(),
        };
        let mut overrides = self.overrides()?;
        for one in &overrides {
            config = apply(&config, one)?;
        }
        overrides.extend(environment::complete(&mut config.docker, |name| {
            std::env::var(name).ok()
        }));
        if config.host.is_empty() {
            let name = rustix::system::uname().nodename().to_owned();
            config.host = name.to_string_lossy().into_owned();
        }
        let place = |key: &str| place_of(key, &overrides, text.as_ref());
        let problems = validate::contradictions(&config, place);
        if !problems.is_empty() {
            return Err(ConfigError::Contradiction(problems));
        }
        match prepare(&config) {
            Ok(prepared) => Ok((config, prepared)),
            Err((key, message)) => {
                let place = place(key);
                Err(ConfigError::Contradiction(vec![Problem { place, key, message }]))
            }
        }
    }

    fn overrides(&self) -> Result<Vec<Override>, ConfigError> {
        let mut all = variables();
        for text in &self.overrides {
            let Some((key, value)) = text.split_once('=') else {
                return Err(ConfigError::Value {
                    place: Place::Override(format!("--set {text}")),
                    message: "expected key=value, for example docker.host=unix:///run/docker.sock".to_owned(),
                });
            };
            all.push(Override {
                key: key.trim().to_owned(),
                value: value.to_owned(),
                said_as: format!("--set {text}"),
            });
        }
        Ok(all)
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })
}

fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    // A file of comments only is no document, and changes nothing.
    let document: Option<Config> = serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        ConfigError::Value {
            place: Place::File {
                path: path.to_owned(),
                line,
                column,
            },
            message: first_line(&error.without_snippet().to_string()),
        }
    })?;
    Ok(document.unwrap_or_default())
}

/// Variables with the prefix that name no key: most likely misspelt. There can be others' among them, so they are told of
/// and not refused.
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

fn keys() -> Vec<String> {
    let mut keys = Vec::new();
    leaves(&tree(&Config::default()), &mut String::new(), &mut keys);
    keys
}

fn variable(key: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", key.replace('.', "_").to_uppercase())
}

/// `LOG_CAPTURER_CAPTURE_ROTATION_INTERVAL` and its like, by the keys that there are.
fn variables() -> Vec<Override> {
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

/// The keys of a tree, with dots. A list is one value.
fn leaves(value: &Value, prefix: &mut String, keys: &mut Vec<String>) {
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
        leaves(value, prefix, keys);
        prefix.truncate(length);
    }
}

fn tree(config: &Config) -> Value {
    serde_json::to_value(config).unwrap_or(Value::Null)
}

fn apply(config: &Config, change: &Override) -> Result<Config, ConfigError> {
    let refuse = |message: String| ConfigError::Value {
        place: Place::Override(change.said_as.clone()),
        message,
    };
    let value: Value = serde_saphyr::from_str(&change.value)
        .map_err(|error| refuse(first_line(&error.without_snippet().to_string())))?;
    let mut tree = tree(config);
    let mut node = &mut tree;
    for part in change.key.split('.') {
        let known = node.as_object().map(|map| {
            let keys: Vec<&str> = map.keys().map(String::as_str).collect();
            keys.join(", ")
        });
        node = node.get_mut(part).ok_or_else(|| match known {
            Some(known) => refuse(format!("unknown key {part:?}; there are {known}")),
            None => refuse(format!("{part:?} is below a value that has no keys")),
        })?;
    }
    // What is a string in the tree stays one, whatever YAML makes of it: `off` is one.
    *node = match (&*node, value) {
        (_, Value::String(text)) => Value::String(text),
        (Value::String(_), _) => Value::String(change.value.trim().to_owned()),
        (_, value) => value,
    };
    serde_json::from_value(tree).map_err(|error| refuse(error.to_string()))
}

fn place_of(key: &str, overrides: &[Override], text: Option<&(&Path, String)>) -> Place {
    let covers = |said: &str| key == said || key.starts_with(&format!("{said}."));
    if let Some(one) = overrides.iter().rev().find(|o| covers(&o.key)) {
        return Place::Override(one.said_as.clone());
    }
    text.and_then(|(path, text)| {
        let (line, column) = locate::key(text, key)?;
        Some(Place::File {
            path: path.to_path_buf(),
            line,
            column,
        })
    })
    .unwrap_or(Place::Default)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(yaml: &str, overrides: &[&str]) -> Result<Config, String> {
        let dir = std::env::temp_dir().join(format!("lc-config-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("c.yaml");
        std::fs::write(&path, yaml).unwrap();
        let sources = Sources {
            file: Some(path),
            overrides: overrides.iter().map(|&s| s.to_owned()).collect(),
        };
        let loaded = sources.load(|_| Ok(()));
        std::fs::remove_dir_all(&dir).unwrap();
        loaded
            .map(|(config, ())| config)
            .map_err(|error| error.to_string().replace(dir.to_str().unwrap(), ""))
    }

    #[test]
    fn default_yaml_is_the_code() {
        let text = include_str!("../../../configs/default.yaml");
        let shown = parse(Path::new("default.yaml"), text).unwrap();
        assert_eq!(shown, Config::default());

        let document: Value = serde_saphyr::from_str(text).unwrap();
        let (mut shown, mut known) = (Vec::new(), Vec::new());
        leaves(&document, &mut String::new(), &mut shown);
        leaves(&tree(&Config::default()), &mut String::new(), &mut known);
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
    fn nothing_said_is_the_default() {
        let config = load("# only a comment\n", &["docker.host=unix:///x"]).unwrap();
        assert_eq!(config.capture, Config::default().capture);
        assert_eq!(config.docker.host, "unix:///x");
        assert!(!config.host.is_empty());
    }

    #[test]
    fn a_bad_file_is_told_with_its_line() {
        let error = load("capture:\n  rotation:\n    intervall: 5m\n", &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:3:"), "{error}");
        assert!(error.contains("intervall"), "{error}");

        let error = load("capture:\n  rotation:\n    interval: soon\n", &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:3:"), "{error}");

        let error = load("sinks:\n- type: stdout\n- type: kafka\n", &[]).unwrap_err();
        assert!(error.contains("kafka"), "{error}");
        assert!(error.starts_with("/c.yaml:"), "{error}");

        let error = load("capture: [\n", &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:"), "{error}");
    }

    #[test]
    fn a_contradiction_is_told_with_its_line_and_key() {
        let yaml = "docker:\n  pool:\n    max_size: 2\n    max_idle: 3\n";
        let error = load(yaml, &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:4:"), "{error}");
        assert!(error.contains("docker.pool.max_idle"), "{error}");

        let yaml = "docker:\n  circuit_breaker:\n    half_open_calls: 0\n  rate_limit:\n    max_wait: 0s\n";
        let error = load(yaml, &[]).unwrap_err();
        assert!(
            error.contains("/c.yaml:3:5: docker.circuit_breaker.half_open_calls: must be from 1"),
            "{error}"
        );
        assert!(
            error.contains("/c.yaml:5:5: docker.rate_limit.max_wait: must be longer"),
            "{error}"
        );

        let error = load("docker:\n  rate_limit:\n    burst: 0\n", &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:3:"), "{error}");

        let yaml = "capture:\n  exclude:\n    - name: 'regex:('\n";
        let error = load(yaml, &[]).unwrap_err();
        assert!(error.starts_with("/c.yaml:2:"), "{error}");
        assert!(
            error.contains("capture.exclude") && error.contains("regex:("),
            "{error}"
        );
    }

    #[test]
    fn an_address_and_tls_that_contradict_each_other_are_refused() {
        for (yaml, told) in [
            (
                "docker: {host: 'http://h', tls: {mode: on, ca: /c}}",
                "docker.host: must not be http://",
            ),
            (
                "docker: {host: 'https://h', tls: {mode: off}}",
                "docker.tls.mode: must not be off",
            ),
            (
                "docker: {host: 'unix:///s', tls: {mode: on, ca: /c}}",
                "docker.tls.mode: must not be on",
            ),
            (
                "docker: {host: 'https://h', tls: {ca: /c, key: /k}}",
                "docker.tls.cert: must name",
            ),
            (
                "docker: {host: 'https://h', tls: {ca: /c, cert: /c}}",
                "docker.tls.key: must name",
            ),
            (
                "docker: {host: 'tcp://u:secret@h'}",
                "docker.host: must not have a user name",
            ),
        ] {
            let error = load(yaml, &[]).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
        for (said, told) in [
            (
                "docker.host=tcp://u:secret@h",
                "docker.host=tcp://…@h: docker.host: must",
            ),
            (
                "docker.host=tcp://u:sec@ret@h",
                "docker.host=tcp://…@h: docker.host: must",
            ),
            ("docker.host=u:secret@h:1", "docker.host=…@h:1: docker.host: must"),
            ("docker.host=tcp:/u:secret@h", "docker.host=…@h: docker.host: must"),
        ] {
            let error = load("", &[said]).unwrap_err();
            assert!(error.contains(told), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn overrides_win_and_are_checked() {
        let yaml = "capture:\n  rotation:\n    interval: 5m\n";
        let config = load(yaml, &["capture.rotation.interval=7s", "host=12"]).unwrap();
        assert_eq!(config.capture.rotation.interval.as_secs(), 7);
        assert_eq!(config.host, "12");

        let config = load("capture: {max_line_bytes: 1500}", &["host=x"]).unwrap();
        assert_eq!(config.capture.max_line_bytes.as_u64(), 1500);

        let config = load("kernel: {mode: off}", &[]).unwrap();
        assert_eq!(config.kernel.mode, super::super::KernelMode::Off);
        let config = load("", &["kernel.mode=off"]).unwrap();
        assert_eq!(config.kernel.mode, super::super::KernelMode::Off);

        let sinks = load("", &["sinks=[{type: file, path: /x}]"]).unwrap().sinks;
        assert_eq!(sinks, [super::super::Sink::File { path: "/x".into() }]);

        for (set, part) in [
            ("capture.rotations.interval=7s", "unknown key \"rotations\""),
            (
                "capture.rotation.interval=never",
                "--set capture.rotation.interval=never",
            ),
            ("host.name=x", "below a value"),
            ("host", "expected key=value"),
            (
                "capture.streams.max_concurrent=0",
                "--set capture.streams.max_concurrent=0",
            ),
        ] {
            let error = load("", &[set]).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
