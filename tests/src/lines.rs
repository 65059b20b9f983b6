//! The accountant: the records of a JSON-lines sink, checked for their shape,
//! against the lines that were written.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use serde::Deserialize;

/// A record as `docs/reference` has it.
#[derive(Debug, Deserialize)]
pub struct Record {
    /// The engine's time, with nine digits of UTC.
    pub ts: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    line: Option<String>,
    line_base64: Option<String>,
    /// The container that wrote it.
    pub container: Container,
    /// The host that it was captured on.
    pub host: String,
    /// Whether its line was longer than is allowed.
    #[serde(default)]
    pub truncated: bool,
}

/// What a record says of its container.
#[derive(Debug, Deserialize)]
pub struct Container {
    /// The whole id.
    pub id: String,
    /// The name, without a slash.
    pub name: String,
    /// The image that it was created from.
    pub image: String,
    /// The labels that were chosen.
    pub labels: BTreeMap<String, String>,
}

impl Record {
    /// One line of a sink, held to the contract.
    pub fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let record: Self = serde_json::from_slice(json)?;
        let lowercase_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure!(
            is_engine_time(&record.ts),
            "ts {:?} has not nine digits of UTC",
            record.ts
        );
        ensure!(
            ["stdout", "stderr"].contains(&record.stream.as_str()),
            "stream {:?}",
            record.stream
        );
        let id = &record.container.id;
        ensure!(id.len() == 64 && id.bytes().all(lowercase_hex), "container.id {id:?}");
        ensure!(!record.container.name.is_empty(), "container.name is empty");
        ensure!(
            !record.container.name.starts_with('/'),
            "container.name has the engine's slash"
        );
        ensure!(!record.container.image.is_empty(), "container.image is empty");
        ensure!(!record.host.is_empty(), "host is empty");
        record.bytes()?;
        Ok(record)
    }

    /// The line as the container wrote it. It is an error if the record has none, or two.
    pub fn bytes(&self) -> anyhow::Result<Vec<u8>> {
        match (&self.line, &self.line_base64) {
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(encoded)) => {
                let bytes = base64::prelude::BASE64_STANDARD.decode(encoded)?;
                ensure!(str::from_utf8(&bytes).is_err(), "line_base64 of a line that is UTF-8");
                Ok(bytes)
            }
            _ => bail!("one of line and line_base64 is wanted"),
        }
    }
}

/// `2026-11-20T15:04:58.662848374Z`
fn is_engine_time(ts: &str) -> bool {
    ts.len() == "2026-11-20T15:04:58.662848374Z".len()
        && ts.as_bytes()[19] == b'.'
        && ts.ends_with('Z')
        && ts.parse::<jiff::Timestamp>().is_ok()
}

/// What a sink holds, by container name and stream, in the sink's order.
#[derive(Debug, Default)]
pub struct Captured {
    streams: HashMap<(String, String), Vec<Vec<u8>>>,
    /// How many records there are in all.
    pub records: usize,
}

impl Captured {
    /// A file that a stopped agent left behind: every line of it is whole.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&bytes)
    }

    /// The records of a piece of a sink that ends with a whole line.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut captured = Self::default();
        captured.add(bytes)?;
        Ok(captured)
    }

    /// Takes more of a sink, as long as it is of whole lines.
    pub fn add(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        ensure!(bytes.is_empty() || bytes.ends_with(b"\n"), "the last line is not whole");
        for (number, json) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let record = Record::parse(json).with_context(|| {
                let start = String::from_utf8_lossy(&json[..json.len().min(300)]).into_owned();
                format!("record {}: {start}", number + 1)
            })?;
            self.push(record)?;
        }
        Ok(())
    }

    /// Forgets a container.
    pub fn remove(&mut self, container: &str) {
        self.streams.retain(|(name, _), _| name != container);
    }

    fn push(&mut self, record: Record) -> anyhow::Result<()> {
        let bytes = record.bytes()?;
        self.records += 1;
        self.streams
            .entry((record.container.name, record.stream))
            .or_default()
            .push(bytes);
        Ok(())
    }

    /// What one stream of a container has brought.
    pub fn lines(&self, container: &str, stream: &str) -> &[Vec<u8>] {
        let key = (container.to_owned(), stream.to_owned());
        self.streams.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The names of all containers, sorted.
    pub fn containers(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.streams.keys().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Panics unless each of these streams was captured exactly.
    pub fn assert_exact(&self, expected: &[(String, &str, Vec<Vec<u8>>)]) {
        let complaints: Vec<_> = expected
            .iter()
            .map(|(name, stream, lines)| (name, stream, self.account(name, stream, lines).complaint()))
            .filter(|(.., complaint)| !complaint.is_empty())
            .map(|(name, stream, complaint)| format!("{name} {stream}: {complaint}"))
            .collect();
        assert!(complaints.is_empty(), "not exactly once:\n{}", complaints.join("\n"));
    }

    /// What one stream of a container has brought, against what was written.
    pub fn account(&self, container: &str, stream: &str, expected: &[Vec<u8>]) -> Account {
        Account::new(expected, self.lines(container, stream))
    }
}

/// How far what was captured is from *every line exactly once, in order*.
#[derive(Debug, Default, PartialEq)]
pub struct Account {
    /// How many lines were written.
    pub expected: usize,
    /// Lines that did not come.
    pub missing: Vec<String>,
    /// Lines that came more than once.
    pub doubled: Vec<String>,
    /// Lines that came and were not written.
    pub unexpected: Vec<String>,
    /// How many lines came behind one that was written after them.
    pub out_of_order: usize,
}

impl Account {
    /// The expected lines must differ from one another.
    pub fn new(expected: &[Vec<u8>], captured: &[Vec<u8>]) -> Self {
        let positions: HashMap<&[u8], usize> = expected
            .iter()
            .enumerate()
            .map(|(position, line)| (line.as_slice(), position))
            .collect();
        assert_eq!(positions.len(), expected.len(), "expected lines that are alike");

        let mut seen = vec![0_u32; expected.len()];
        let mut account = Self {
            expected: expected.len(),
            ..Self::default()
        };
        let mut last = 0;
        for line in captured {
            let Some(&position) = positions.get(line.as_slice()) else {
                account.unexpected.push(excerpt(line));
                continue;
            };
            seen[position] += 1;
            if seen[position] == 2 {
                account.doubled.push(excerpt(line));
            }
            account.out_of_order += usize::from(position < last);
            last = last.max(position);
        }
        account.missing = expected
            .iter()
            .zip(&seen)
            .filter(|(_, seen)| **seen == 0)
            .map(|(line, _)| excerpt(line))
            .collect();
        account
    }

    /// Whether every line came exactly once, in order.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.doubled.is_empty() && self.unexpected.is_empty() && self.out_of_order == 0
    }

    /// One line for a failed test; empty where the account is exact.
    pub fn complaint(&self) -> String {
        if self.is_exact() {
            return String::new();
        }
        let some = |lines: &[String]| match lines {
            [] => "0".to_owned(),
            [only] => format!("1 {only:?}"),
            [first, .., last] => format!("{} {first:?} … {last:?}", lines.len()),
        };
        format!(
            "of {}: missing {}, doubled {}, unexpected {}, out of order {}",
            self.expected,
            some(&self.missing),
            some(&self.doubled),
            some(&self.unexpected),
            self.out_of_order,
        )
    }
}

/// A line as a message can show it: 40,000 bytes would bury the rest.
fn excerpt(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(&line[..line.len().min(40)]).into_owned();
    if line.len() > 40 {
        format!("{text}… ({} bytes)", line.len())
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<Vec<u8>> {
        lines.iter().map(|line| line.as_bytes().to_vec()).collect()
    }

    fn account(captured: &[&str]) -> Account {
        Account::new(&lines(&["a 1", "a 2", "a 3", "a 4"]), &lines(captured))
    }

    #[test]
    fn every_line_once_is_exact() {
        let exact = account(&["a 1", "a 2", "a 3", "a 4"]);
        assert!(exact.is_exact());
        assert_eq!(exact.complaint(), "");
    }

    #[test]
    fn a_missing_line_is_seen_wherever_it_was() {
        for (at, missing) in ["a 1", "a 2", "a 3", "a 4"].into_iter().enumerate() {
            let mut captured = vec!["a 1", "a 2", "a 3", "a 4"];
            captured.remove(at);
            let account = account(&captured);
            assert_eq!(account.missing, [missing]);
            assert!(account.doubled.is_empty() && account.unexpected.is_empty());
            assert_eq!(account.out_of_order, 0);
        }
        assert_eq!(account(&[]).missing.len(), 4);
    }

    #[test]
    fn a_doubled_line_is_seen_next_to_its_twin_and_far_from_it() {
        let near = account(&["a 1", "a 2", "a 2", "a 3", "a 4"]);
        assert_eq!((near.doubled, near.out_of_order), (vec!["a 2".to_owned()], 0));
        let far = account(&["a 1", "a 2", "a 3", "a 4", "a 2"]);
        assert_eq!((far.doubled, far.out_of_order), (vec!["a 2".to_owned()], 1));
    }

    #[test]
    fn a_line_cut_in_two_is_missing_and_unexpected() {
        let cut = account(&["a 1", "a ", "2", "a 3", "a 4"]);
        assert_eq!(cut.missing, ["a 2"]);
        assert_eq!(cut.unexpected, ["a ", "2"]);
        assert!(cut.complaint().contains("missing 1 \"a 2\""));
    }

    #[test]
    fn swapped_lines_are_out_of_order() {
        let swapped = account(&["a 2", "a 1", "a 3", "a 4"]);
        assert_eq!(swapped.out_of_order, 1);
        assert!(!swapped.is_exact());
    }

    fn record(change: impl FnOnce(&mut serde_json::Value)) -> anyhow::Result<Record> {
        let mut json = serde_json::json!({
            "ts": "2026-11-20T15:04:58.662848374Z", "stream": "stdout", "line": "text",
            "container": {"id": "0a".repeat(32), "name": "web", "image": "nginx:1.27", "labels": {}},
            "host": "node-1",
        });
        change(&mut json);
        Record::parse(json.to_string().as_bytes())
    }

    #[test]
    fn a_record_is_held_to_the_contract() {
        assert_eq!(record(|_| ()).unwrap().bytes().unwrap(), b"text");
        for ts in [
            "2026-11-20T15:04:58.66284837Z",
            "2026-11-20T15:04:58.662848374+00:00",
            "2026-13-20T15:04:58.662848374Z",
        ] {
            record(|json| json["ts"] = ts.into()).unwrap_err();
        }
        record(|json| json["stream"] = "stdin".into()).unwrap_err();
        record(|json| json["container"]["id"] = "0a".into()).unwrap_err();
        record(|json| json["container"]["name"] = "/web".into()).unwrap_err();
        record(|json| json["line_base64"] = "/w==".into()).unwrap_err();
        record(|json| drop(json.as_object_mut().unwrap().remove("line"))).unwrap_err();
    }

    #[test]
    fn base64_is_for_bytes_that_are_no_text() {
        let encoded = |text: &str| {
            record(|json| {
                json.as_object_mut().unwrap().remove("line");
                json["line_base64"] = text.into();
            })
        };
        assert_eq!(encoded("/w==").unwrap().bytes().unwrap(), [0xff]);
        encoded("dGV4dA==").unwrap_err();
    }

    #[test]
    fn a_torn_file_is_refused() {
        let whole = record(|_| ()).map(|_| ()).is_ok();
        assert!(whole);
        assert!(Captured::parse(b"{\"ts\":").is_err());
        assert!(Captured::parse(b"{}\n").is_err());
        assert_eq!(Captured::parse(b"").unwrap().records, 0);
    }
}
