//! What a record says of its container, chosen by the configuration.

use std::collections::BTreeMap;

use regex::bytes::Regex;
use serde::Serialize;

use crate::config::{self, Field, PatternError, pattern};
use crate::record::Container;

/// Bytes of JSON that a container's labels, compose and swarm may take: each of its records bears
/// them.
pub(super) const ROOM: usize = 16 * 1024;
/// What a text takes beside its own bytes: quotes, and a colon or a comma.
const AROUND: usize = 3;
/// What a byte takes at most: `\u0000`.
pub(super) const ESCAPED: usize = 6;

/// The labels that a record bears, and what is told of compose and swarm.
#[derive(Debug)]
pub struct Fields {
    labels: Vec<Regex>,
    chosen: Vec<Field>,
}

/// What a container's records tell of it, as far as there is room.
#[derive(Debug)]
pub struct Chosen<'a> {
    pub labels: BTreeMap<&'a str, &'a str>,
    pub compose: Option<Compose<'a>>,
    pub swarm: Option<Swarm<'a>>,
    /// Labels and parts of the others for which there was no room.
    pub left_out: usize,
}

/// Where a container belongs, by the labels that `docker compose` gives it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compose<'a> {
    /// The label `com.docker.compose.project`.
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    /// The label `com.docker.compose.service`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    /// The label `com.docker.compose.container-number`.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
}

/// Where a container belongs, by the labels that a swarm gives it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swarm<'a> {
    /// The label `com.docker.stack.namespace`.
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<&'a str>,
    /// The label `com.docker.swarm.service.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    /// The label `com.docker.swarm.task.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    /// The label `com.docker.swarm.node.id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

impl TryFrom<&config::Capture> for Fields {
    type Error = PatternError;

    fn try_from(capture: &config::Capture) -> Result<Self, PatternError> {
        Self::new(&capture.labels, &capture.fields)
    }
}

impl Fields {
    /// The labels of which the key matches one of `labels`, and the `chosen` fields.
    pub fn new(labels: &[String], chosen: &[Field]) -> Result<Self, PatternError> {
        Ok(Self {
            labels: labels.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?,
            chosen: chosen.to_vec(),
        })
    }

    /// What is chosen of a container, as long as it fits into [`ROOM`]. Compose and swarm come
    /// first. Of the labels the longest ones are left out.
    pub fn of<'a>(&self, container: &'a Container) -> Chosen<'a> {
        let mut room = Room {
            left: ROOM,
            left_out: 0,
        };
        let compose = self.compose(container, &mut room);
        let swarm = self.swarm(container, &mut room);
        let chosen = |key: &str| self.labels.iter().any(|pattern| pattern.is_match(key.as_bytes()));
        let mut labels: Vec<_> = container.labels.iter().filter(|(key, _)| chosen(key)).collect();
        labels.sort_by_key(|(key, value)| key.len() + value.len());
        let labels = labels
            .into_iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .filter(|(key, value)| room.takes(&[key, value]))
            .collect();
        Chosen {
            labels,
            compose,
            swarm,
            left_out: room.left_out,
        }
    }

    /// `None` where it is not chosen, or there is nothing to tell.
    fn compose<'a>(&self, container: &'a Container, room: &mut Room) -> Option<Compose<'a>> {
        if !self.chosen.contains(&Field::Compose) {
            return None;
        }
        let mut of = |key| room.value(container, key);
        let compose = Compose {
            project: of("com.docker.compose.project"),
            service: of("com.docker.compose.service"),
            number: of("com.docker.compose.container-number"),
        };
        (compose != Compose::default()).then_some(compose)
    }

    /// `None` where it is not chosen, or there is nothing to tell.
    fn swarm<'a>(&self, container: &'a Container, room: &mut Room) -> Option<Swarm<'a>> {
        if !self.chosen.contains(&Field::Swarm) {
            return None;
        }
        let mut of = |key| room.value(container, key);
        let swarm = Swarm {
            stack: of("com.docker.stack.namespace"),
            service: of("com.docker.swarm.service.name"),
            task: of("com.docker.swarm.task.name"),
            node: of("com.docker.swarm.node.id"),
        };
        (swarm != Swarm::default()).then_some(swarm)
    }
}

/// What is left of [`ROOM`].
struct Room {
    left: usize,
    left_out: usize,
}

impl Room {
    /// A label's value, if the container has it and there is room for it.
    fn value<'a>(&mut self, container: &'a Container, label: &str) -> Option<&'a str> {
        let value = container.labels.get(label)?;
        self.takes(&[value]).then_some(value)
    }

    fn takes(&mut self, texts: &[&str]) -> bool {
        let bare: usize = texts.iter().map(|text| text.len() + AROUND).sum();
        // What is much too long is not looked through.
        let fits = bare <= self.left;
        let encoded: usize = texts.iter().filter(|_| fits).map(|text| longest(text) + AROUND).sum();
        if !fits || encoded > self.left {
            self.left_out += 1;
            return false;
        }
        self.left -= encoded;
        true
    }
}

/// What a text takes as JSON at most.
fn longest(text: &str) -> usize {
    let of = |byte: u8| match byte {
        b'"' | b'\\' | 0..0x20 => ESCAPED,
        _ => 1,
    };
    text.bytes().map(of).sum()
}
