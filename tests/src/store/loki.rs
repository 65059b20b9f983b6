//! A stand-in for Loki. It reads requests by plain models of their encodings, keeps Loki's limits, and drops exact repeats as
//! Loki does.

mod push;
mod snappy;

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};

use super::{Answer, Fault, Head, Keeps, Server};
pub use push::Entry;

/// Loki's own limits.
const LABELS: usize = 15;
const VALUE: usize = 2048;
const LINE: usize = 256 << 10;
const METADATA: usize = 128;
const OLDEST: Duration = Duration::from_secs(7 * 86_400);

/// A server on loopback.
pub type Loki = Server<Kept>;

/// What it keeps.
#[derive(Default)]
pub struct Kept {
    entries: Vec<Entry>,
    seen: HashSet<Entry>,
    repeats: usize,
    tenants: HashSet<String>,
    complaints: Vec<String>,
}

impl Loki {
    /// What it has kept, without exact repeats, in the order of its arrival.
    pub fn entries(&self) -> Vec<Entry> {
        self.kept(|kept| kept.entries.clone())
    }

    /// The lines of one container, in the order of their arrival.
    pub fn lines(&self, container: &str) -> Vec<String> {
        let entries = self.entries();
        let of = entries
            .into_iter()
            .filter(|entry| entry.labels["container"] == container);
        of.map(|entry| entry.line).collect()
    }

    /// How many exact repeats it has dropped.
    pub fn repeats(&self) -> usize {
        self.kept(|kept| kept.repeats)
    }

    /// Every tenant that was named; empty for requests without one.
    pub fn tenants(&self) -> Vec<String> {
        self.kept(|kept| kept.tenants.iter().cloned().collect())
    }

    /// What Loki would have refused, although no fault was set.
    pub fn complaints(&self) -> Vec<String> {
        self.kept(|kept| kept.complaints.clone())
    }
}

impl Keeps for Kept {
    const PATH: &'static str = "/loki/api/v1/push";
    const BODY: usize = 4 << 20;

    fn keep(&mut self, head: &Head, body: &[u8], fault: &Fault) -> Answer {
        let tenant = head.header("x-scope-orgid").unwrap_or_default();
        self.tenants.insert(tenant.to_owned());
        let entries = match snappy::decompress(body).and_then(|request| push::entries(&request)) {
            Ok(entries) => entries,
            Err(error) => {
                self.complain(format!("{error:#}"));
                return Answer::new(400, format!("{error:#}"));
            }
        };
        let mut refusal = None;
        for entry in entries {
            if let Err(error) = is_within_limits(&entry) {
                self.complain(format!("{error:#}"));
                refusal = Some(format!("{error:#}"));
            } else if matches!(fault, Fault::Refuse(line) if *line == entry.line) {
                refusal = Some("has timestamp too new: 2027-01-01T00:00:00Z".to_owned());
            } else if self.seen.insert(entry.clone()) {
                self.entries.push(entry);
            } else {
                self.repeats += 1;
            }
        }
        refusal.map_or_else(|| Answer::new(204, ""), |text| Answer::new(400, text))
    }

    fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }
}

fn is_within_limits(entry: &Entry) -> anyhow::Result<()> {
    ensure!(
        (1..=LABELS).contains(&entry.labels.len()),
        "has {} label names; limit 15",
        entry.labels.len()
    );
    let longest = entry.labels.values().map(String::len).max();
    ensure!(longest <= Some(VALUE), "label value too long");
    ensure!(
        entry.line.len() <= LINE,
        "max entry size exceeded: {}",
        entry.line.len()
    );
    ensure!(entry.metadata.len() <= METADATA, "structured metadata too large");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock")?;
    let age = now.as_nanos() as i64 - entry.nanos;
    ensure!(age < OLDEST.as_nanos() as i64, "has timestamp too old");
    Ok(())
}
