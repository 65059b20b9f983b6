//! What a record says of its container, chosen by the configuration.

use std::collections::BTreeMap;

use regex::bytes::Regex;
use serde::Serialize;

use crate::config::{Field, PatternError, pattern};
use crate::record::Container;

/// The labels that a record bears, and what is told of compose and swarm.
#[derive(Debug)]
pub struct Fields {
    labels: Vec<Regex>,
    chosen: Vec<Field>,
}

/// Where a container belongs, by the labels that `docker compose` gives it.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Compose<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<&'a str>,
}

/// The same of a swarm.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Swarm<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

impl Fields {
    /// The labels of which the key matches one of `labels`, and the `chosen` fields.
    pub fn new(labels: &[String], chosen: &[Field]) -> Result<Self, PatternError> {
        Ok(Self {
            labels: labels.iter().map(|text| pattern(text)).collect::<Result<_, _>>()?,
            chosen: chosen.to_vec(),
        })
    }

    pub fn labels<'a>(&self, container: &'a Container) -> BTreeMap<&'a str, &'a str> {
        let chosen = |key: &str| self.labels.iter().any(|pattern| pattern.is_match(key.as_bytes()));
        let labels = container.labels.iter().filter(|(key, _)| chosen(key));
        labels.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    /// `None` where it is not chosen, or there is nothing to tell.
    pub fn compose<'a>(&self, container: &'a Container) -> Option<Compose<'a>> {
        let compose = Compose {
            project: label(container, "com.docker.compose.project"),
            service: label(container, "com.docker.compose.service"),
            number: label(container, "com.docker.compose.container-number"),
        };
        (self.chosen.contains(&Field::Compose) && compose != Compose::default()).then_some(compose)
    }

    /// `None` where it is not chosen, or there is nothing to tell.
    pub fn swarm<'a>(&self, container: &'a Container) -> Option<Swarm<'a>> {
        let swarm = Swarm {
            stack: label(container, "com.docker.stack.namespace"),
            service: label(container, "com.docker.swarm.service.name"),
            task: label(container, "com.docker.swarm.task.name"),
            node: label(container, "com.docker.swarm.node.id"),
        };
        (self.chosen.contains(&Field::Swarm) && swarm != Swarm::default()).then_some(swarm)
    }
}

fn label<'a>(container: &'a Container, key: &str) -> Option<&'a str> {
    container.labels.get(key).map(String::as_str)
}
