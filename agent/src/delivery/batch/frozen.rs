//! Records as bytes for the disk: what a batch has of them, and nothing that is made of it.
//!
//! ```text
//! containers, as JSON behind its length │ count, runs │ count, entries │ text
//! ```
//!
//! All numbers are little endian.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Entry, Records, Run};
use crate::encode::{Origin, Writing};
use crate::record::{Container, ContainerId, Stream, Time};

/// Labels beyond this are left out, if they are not compose's: a batch of many containers would be far larger than its text.
const LABELS: usize = 16 << 10;
const COMPOSE: &str = "com.docker.compose.";
const WRITINGS: [Writing; 3] = [Writing::Plain, Writing::Escaped, Writing::Base64];

/// A container, and the machine that it runs on.
#[derive(Serialize, Deserialize)]
struct Owner<'a> {
    host: Cow<'a, str>,
    id: Cow<'a, str>,
    name: Cow<'a, str>,
    image: Cow<'a, str>,
    labels: BTreeMap<Cow<'a, str>, Cow<'a, str>>,
}

impl<'a> From<&'a Origin> for Owner<'a> {
    fn from(origin: &'a Origin) -> Self {
        let container = &origin.container;
        let mut left = LABELS;
        let mut fits = |(key, value): &(&String, &String)| {
            let size = key.len() + value.len();
            let has_room = size <= left;
            left -= if has_room { size } else { 0 };
            has_room || key.starts_with(COMPOSE)
        };
        let labels = container.labels.iter().filter(|label| fits(label));
        Self {
            host: origin.host.as_str().into(),
            id: container.id.as_str().into(),
            name: container.name.as_str().into(),
            image: container.image.as_str().into(),
            labels: labels
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
        }
    }
}

impl From<Owner<'_>> for Origin {
    fn from(owner: Owner<'_>) -> Self {
        let labels = owner.labels.into_iter();
        Self {
            host: owner.host.into_owned(),
            container: Arc::new(Container {
                id: ContainerId::new(&owner.id),
                name: owner.name.into_owned(),
                image: owner.image.into_owned(),
                labels: labels
                    .map(|(key, value)| (key.into_owned(), value.into_owned()))
                    .collect(),
            }),
        }
    }
}

impl Records {
    /// Appends them to `out`.
    pub(in super::super) fn freeze(&self, out: &mut Vec<u8>) {
        let mut origins: Vec<&Arc<Origin>> = self.runs.iter().map(|run| &run.origin).collect();
        origins.sort_by_key(|origin| Arc::as_ptr(origin));
        origins.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let owners: Vec<Owner<'_>> = origins.iter().map(|origin| Owner::from(&***origin)).collect();
        // Strings and maps of strings: there is nothing in them that could fail.
        let owners = serde_json::to_vec(&owners).unwrap_or_default();
        put(owners.len(), out);
        out.extend_from_slice(&owners);

        put(self.runs.len(), out);
        for run in &self.runs {
            let number = origins.binary_search_by_key(&Arc::as_ptr(&run.origin), |origin| Arc::as_ptr(origin));
            put(number.unwrap_or_default(), out);
            put(run.end, out);
        }
        put(self.entries.len(), out);
        for entry in &self.entries {
            out.extend_from_slice(&entry.time.0.to_le_bytes());
            put(entry.end, out);
            for number in [entry.line_start, entry.line_length, entry.lines] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&[entry.writing as u8, entry.stream as u8, u8::from(entry.truncated)]);
        }
        out.extend_from_slice(&self.text);
    }

    /// The records that [`Records::freeze`] has written; `None` for anything else.
    pub(in super::super) fn thaw(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let owners = bytes.number()?;
        let owners: Vec<Owner<'_>> = serde_json::from_slice(bytes.take(owners)?).ok()?;
        let origins: Vec<Arc<Origin>> = owners.into_iter().map(|owner| Arc::new(owner.into())).collect();

        let mut records = Self::default();
        let mut before = 0;
        for _ in 0..bytes.number()? {
            let origin = Arc::clone(origins.get(bytes.number()?)?);
            let end = bytes.number()?;
            if end <= before {
                return None;
            }
            before = end;
            records.runs.push(Run { origin, end });
        }
        let (count, mut start) = (bytes.number()?, 0);
        for _ in 0..count {
            let entry = bytes.entry()?;
            let line_end = start + entry.line_start as usize + entry.line_length as usize;
            if line_end > entry.end {
                return None;
            }
            start = entry.end;
            records.entries.push(entry);
        }
        let is_whole = before == count && start == bytes.0.len();
        records.text.extend_from_slice(bytes.0);
        is_whole.then_some(records)
    }
}

fn put(number: usize, out: &mut Vec<u8>) {
    // A batch is far from having 4 GiB.
    out.extend_from_slice(&(number as u32).to_le_bytes());
}

/// What is left to be read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn number(&mut self) -> Option<usize> {
        self.u32().map(|number| number as usize)
    }

    fn entry(&mut self) -> Option<Entry> {
        let time = Time(i64::from_le_bytes(self.array()?));
        let end = self.number()?;
        let (line_start, line_length, lines) = (self.u32()?, self.u32()?, self.u32()?);
        let [writing, stream, truncated] = self.array()?;
        Some(Entry {
            time,
            end,
            line_start,
            line_length,
            lines,
            writing: *WRITINGS.get(usize::from(writing))?,
            stream: *Stream::ALL.get(usize::from(stream))?,
            truncated: truncated != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{line, tail};
    use super::*;
    use crate::encode::Encoder;
    use crate::record::Line;

    fn some() -> Records {
        let (mut records, mut encoder) = (Records::default(), Encoder::default());
        let tails = [tail("north"), tail("south")];
        for (number, text) in ["plain", "\"escaped\"\t", "", "größe"].iter().enumerate() {
            let text = line(number as i64 * 1_000_000_007, text);
            let text = Line {
                truncated: number == 1,
                stream: Stream::ALL[number % 2],
                ..text
            };
            records.push(&mut encoder, &text, (number == 3).then_some(2), &tails[number / 2 % 2]);
        }
        let bytes = line(7, "");
        let bytes = Line {
            bytes: b"\xff\xfe",
            ..bytes
        };
        records.push(&mut encoder, &bytes, None, &tails[0]);
        records
    }

    #[test]
    fn what_is_thawed_is_what_was_frozen() {
        let records = some();
        let mut bytes = b"before".to_vec();
        records.freeze(&mut bytes);
        let thawed = Records::thaw(&bytes[6..]).unwrap();
        assert_eq!(thawed.text(), records.text());
        for (one, other) in records.iter().zip(thawed.iter()) {
            assert_eq!(format!("{one:?}"), format!("{other:?}"));
        }
        assert_eq!((thawed.len(), thawed.runs.len()), (5, 3));
        // Two containers, and not one for each run.
        assert!(Arc::ptr_eq(&thawed.runs[0].origin, &thawed.runs[2].origin));
    }

    #[test]
    fn nothing_that_is_cut_or_changed_makes_it_panic() {
        let mut bytes = Vec::new();
        some().freeze(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Records::thaw(&bytes[..length]).is_none(), "{length}");
            for other in [0, 0xff] {
                let mut changed = bytes.clone();
                changed[length] = other;
                if let Some(records) = Records::thaw(&changed) {
                    let mut out = Vec::new();
                    records
                        .iter()
                        .for_each(|record| record.span.append_line(record.text, &mut out));
                }
            }
        }
    }

    #[test]
    fn labels_are_bounded_but_for_those_of_compose() {
        let mut container = Container::clone(tail("web").container());
        for number in 0..100 {
            container.labels.insert(format!("a{number}"), "x".repeat(1000));
        }
        container.labels.insert(format!("{COMPOSE}service"), "shop".to_owned());
        let origin = Origin {
            container: Arc::new(container),
            host: String::new(),
        };
        let owner = Owner::from(&origin);
        assert!(owner.labels.len() < 20, "{}", owner.labels.len());
        assert_eq!(owner.labels["com.docker.compose.service"], "shop");
    }
}
