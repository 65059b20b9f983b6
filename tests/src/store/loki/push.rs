//! A push request as Loki's published definition has it, read by a plain model of the encoding.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};

use super::snappy::{take, varint};

/// One line, as Loki was sent it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The labels of its stream, as Loki shows them.
    pub labels: BTreeMap<String, String>,
    /// Since 1970.
    pub nanos: i64,
    /// The text.
    pub line: String,
    /// Beside it.
    pub metadata: BTreeMap<String, String>,
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

type Message<'a> = Vec<(u64, Value<'a>)>;

fn message(mut bytes: &[u8]) -> anyhow::Result<Message<'_>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            2 => {
                let length = varint(&mut bytes)? as usize;
                Value::Bytes(take(&mut bytes, length)?)
            }
            other => bail!("a field of type {other}"),
        };
        fields.push((tag >> 3, value));
    }
    Ok(fields)
}

fn all<'a>(message: &Message<'a>, field: u64) -> Vec<&'a [u8]> {
    let of = |(number, value): &(u64, Value<'a>)| match value {
        Value::Bytes(bytes) if *number == field => Some(*bytes),
        _ => None,
    };
    message.iter().filter_map(of).collect()
}

fn text(message: &Message<'_>, field: u64) -> anyhow::Result<String> {
    let last = all(message, field).last().copied().unwrap_or_default();
    String::from_utf8(last.to_vec()).context("a text that is not UTF-8")
}

fn number(message: &Message<'_>, field: u64) -> i64 {
    let of = |(number, value): &(u64, Value<'_>)| match value {
        Value::Number(value) if *number == field => Some(*value as i64),
        _ => None,
    };
    message.iter().rev().find_map(of).unwrap_or_default()
}

/// Every entry, in the order of the request.
pub(super) fn entries(request: &[u8]) -> anyhow::Result<Vec<Entry>> {
    let mut found = Vec::new();
    for stream in all(&message(request)?, 1) {
        let stream = message(stream)?;
        let labels = labels(&text(&stream, 1)?)?;
        for entry in all(&stream, 2) {
            let entry = message(entry)?;
            let time = message(all(&entry, 1).first().context("an entry without a time")?)?;
            let mut metadata = BTreeMap::new();
            for pair in all(&entry, 3) {
                let pair = message(pair)?;
                metadata.insert(text(&pair, 1)?, text(&pair, 2)?);
            }
            found.push(Entry {
                labels: labels.clone(),
                nanos: number(&time, 1) * 1_000_000_000 + number(&time, 2),
                line: text(&entry, 2)?,
                metadata,
            });
        }
    }
    Ok(found)
}

/// `{a="b", c="d"}`, with the escapes of Go.
fn labels(text: &str) -> anyhow::Result<BTreeMap<String, String>> {
    let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let mut rest = inner.with_context(|| format!("{text} is no set of labels"))?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").context("a label without a value")?;
        ensure!(
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "a label called {name}"
        );
        let mut value = String::new();
        let mut characters = behind.chars();
        loop {
            match characters.next().context("a value without an end")? {
                '"' => break,
                '\\' => match characters.next().context("half an escape")? {
                    'n' => value.push('\n'),
                    'x' => {
                        let digits: String = characters.by_ref().take(2).collect();
                        value.push(char::from(u8::from_str_radix(&digits, 16)?));
                    }
                    other => value.push(other),
                },
                plain => value.push(plain),
            }
        }
        ensure!(labels.insert(name.to_owned(), value).is_none(), "{name} twice");
        rest = characters.as_str();
        rest = rest.strip_prefix(", ").unwrap_or(rest);
    }
    Ok(labels)
}
