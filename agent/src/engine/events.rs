//! The engine's event stream: one JSON object a line.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tracing::warn;

use super::error::EngineError;
use super::guard::Health;
use super::transport::StreamBody;
use crate::record::{Container, ContainerId, Time};

/// Longest event that is read. Labels make them long.
const LONGEST: usize = 1 << 20;

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It has been made, and may be started next. Carries the same as a start.
    Create(Container),
    /// Carries what a record says of the container: no inspect is needed.
    Start(Container),
    /// Its main process has ended. Its log may have more to read.
    Die,
    /// It has been removed, and its log with it.
    Destroy,
    /// It has a new name, which is told without a leading slash.
    Rename(String),
}

/// A line of the event stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What happened to a container.
    Event(Event),
    /// Something that cannot be read. The list knows what it was.
    Unreadable,
}

/// What the engine says in one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The container that it is about.
    pub id: ContainerId,
    /// When it happened, by the clock of the engine.
    pub time: Time,
    /// What happened.
    pub action: Action,
}

/// A subscription. Dropping it closes its connection.
pub struct Events {
    body: StreamBody,
    buffer: Vec<u8>,
    /// The present event is longer than is read.
    overlong: bool,
    health: Arc<Health>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.health.follows_events(false);
    }
}

impl Events {
    /// Reads events from the body of an answer. The event stream counts as open in
    /// `health` until this is dropped.
    pub fn new(body: StreamBody, health: Arc<Health>) -> Self {
        health.follows_events(true);
        Self {
            body,
            health,
            buffer: Vec::new(),
            overlong: false,
        }
    }

    /// The next event of a container, or `None` when the engine has ended the stream.
    /// Cancel-safe: what has been read of an event is kept.
    pub async fn next(&mut self) -> Result<Option<Told>, EngineError> {
        loop {
            while let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let parsed = parse(&self.buffer[..end]);
                self.buffer.drain(..=end);
                if std::mem::take(&mut self.overlong) {
                    return Ok(Some(Told::Unreadable));
                }
                match parsed {
                    Ok(Some(event)) => return Ok(Some(Told::Event(event))),
                    Ok(None) => {}
                    // Another subscription would bring it again.
                    Err(error) => {
                        warn!(%error, "an event cannot be read; the list of containers is asked for instead");
                        return Ok(Some(Told::Unreadable));
                    }
                }
            }
            if self.buffer.len() > LONGEST {
                if !self.overlong {
                    warn!(
                        limit = LONGEST,
                        "an event is too long; the list of containers is asked for instead"
                    );
                }
                self.overlong = true;
                self.buffer.clear();
            }
            match self.body.data().await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => return Ok(None),
            }
        }
    }
}

/// One line. `None` for what is no event of a container that we act on.
fn parse(line: &[u8]) -> Result<Option<Event>, EngineError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Message {
        #[serde(default)]
        action: String,
        #[serde(default)]
        actor: Actor,
        #[serde(default, rename = "timeNano")]
        time_nano: i64,
    }
    #[derive(Default, Deserialize)]
    struct Actor {
        #[serde(default, rename = "ID")]
        id: String,
        /// Null where there are none.
        #[serde(default, rename = "Attributes")]
        attributes: Option<BTreeMap<String, String>>,
    }
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let message: Message = serde_json::from_slice(line).map_err(|source| EngineError::Json {
        endpoint: "events",
        source,
    })?;
    let Actor { id, attributes } = message.actor;
    let mut attributes = attributes.unwrap_or_default();
    let id = ContainerId::new(&id);
    let action = match message.action.as_str() {
        made @ ("create" | "start") => {
            let mut take = |key: &str| attributes.remove(key).unwrap_or_default();
            let (name, image) = (take("name"), take("image"));
            let container = Container {
                id: id.clone(),
                name,
                image,
                labels: attributes,
            };
            match made {
                "create" => Action::Create(container),
                _ => Action::Start(container),
            }
        }
        // Podman says `died` and `remove`.
        "die" | "died" => Action::Die,
        "destroy" | "remove" => Action::Destroy,
        "rename" => Action::Rename(attributes.remove("name").unwrap_or_default()),
        _ => return Ok(None),
    };
    Ok(Some(Event {
        id,
        time: Time(message.time_nano),
        action,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_and_a_start_carry_the_container() {
        for (action, told) in [
            ("create", Action::Create as fn(Container) -> Action),
            ("start", Action::Start),
        ] {
            let line = format!(
                r#"{{"status":"{action}","id":"ab","from":"nginx","Type":"container","Action":"{action}",
                "Actor":{{"ID":"ab","Attributes":{{"image":"nginx:1","name":"web","com.x":"y"}}}},
                "scope":"local","time":1,"timeNano":1000000005}}"#
            );
            let event = parse(line.as_bytes()).unwrap().unwrap();
            assert_eq!(event.time, Time(1_000_000_005));
            let container = Container {
                id: ContainerId::new("ab"),
                name: "web".into(),
                image: "nginx:1".into(),
                labels: BTreeMap::from([("com.x".into(), "y".into())]),
            };
            assert_eq!(event.action, told(container));
        }
    }

    #[test]
    fn other_lines() {
        assert_eq!(parse(b" \r").unwrap(), None);
        assert_eq!(parse(br#"{"Action":"exec_start: ls"}"#).unwrap(), None);
        assert!(parse(b"nonsense").is_err());
        let die = parse(br#"{"Action":"die","Actor":{"ID":"ab"}}"#).unwrap().unwrap();
        assert_eq!(die.action, Action::Die);
    }
}
