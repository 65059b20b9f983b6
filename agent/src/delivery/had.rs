//! What a sink had behind the saved position when the agent was killed.
//!
//! The position is that of the slowest sink, so what another sink got behind it is read again, for the slower ones. That sink
//! is not given it twice: its records are known by their time, their stream and their line.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use twox_hash::XxHash3_64;

use super::batch::Records;
use crate::encode::Decoded;
use crate::record::{Container, ContainerId, Stream, Time};

/// A container's log is read in its order, and the times in it run back by less than this. So nothing more of what the sink had
/// comes again after a record that is so much later.
const MARGIN_NANOS: i64 = 60_000_000_000;

/// Records that must not be written again. What it is saved as is kept beside the sink's mark.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Had(HashMap<ContainerId, OfContainer>);

#[derive(Debug, Serialize, Deserialize)]
struct OfContainer {
    latest: Time,
    /// How many there are of each fingerprint.
    records: HashMap<u64, u32>,
}

impl Had {
    /// Whether there is nothing that could come again.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The sink has this record.
    pub fn note(&mut self, record: &Decoded) {
        self.add(&record.container, record.time, record.stream, &record.bytes);
    }

    /// The sink has all these records.
    pub(super) fn note_all(&mut self, records: &Records) {
        let mut line = Vec::new();
        for record in records.iter() {
            line.clear();
            record.span.append_line(record.text, &mut line);
            self.add(&record.container.id, record.time, record.stream, &line);
        }
    }

    fn add(&mut self, container: &ContainerId, time: Time, stream: Stream, line: &[u8]) {
        let of = self.0.entry(container.clone()).or_insert_with(|| OfContainer {
            latest: time,
            records: HashMap::new(),
        });
        of.latest = of.latest.max(time);
        *of.records.entry(fingerprint(time, stream, line)).or_default() += 1;
    }

    /// As it is saved beside a mark; null without anything.
    pub(super) fn saved(&self) -> serde_json::Result<Value> {
        match self.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::to_value(self),
        }
    }

    /// Forgets all containers but those for which `there` says true, by the container and the time of its latest record.
    pub fn retain(&mut self, there: impl Fn(&ContainerId, Time) -> bool) {
        self.0.retain(|id, of| there(id, of.latest));
    }

    /// Those of the records that the sink has not had.
    pub(super) fn without(&mut self, records: &Records) -> Records {
        let (mut line, mut last): (Vec<u8>, Option<(*const Container, bool)>) = (Vec::new(), None);
        records.without(|record| {
            let container = Arc::as_ptr(record.container);
            let has_some = match last {
                Some((same, has_some)) if same == container => has_some,
                _ => self.0.contains_key(&record.container.id),
            };
            last = Some((container, has_some));
            if !has_some {
                return false;
            }
            line.clear();
            record.span.append_line(record.text, &mut line);
            let fingerprint = fingerprint(record.time, record.stream, &line);
            self.take(&record.container.id, record.time, fingerprint)
        })
    }

    /// Whether the sink has this record. It is one less then that can come.
    fn take(&mut self, container: &ContainerId, time: Time, fingerprint: u64) -> bool {
        let Some(of) = self.0.get_mut(container) else {
            return false;
        };
        let Some(count) = of.records.get_mut(&fingerprint) else {
            if time.0 > of.latest.0.saturating_add(MARGIN_NANOS) {
                self.0.remove(container);
            }
            return false;
        };
        *count -= 1;
        if *count == 0 {
            of.records.remove(&fingerprint);
        }
        if of.records.is_empty() {
            self.0.remove(container);
        }
        true
    }
}

fn fingerprint(time: Time, stream: Stream, line: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(time.0 as u64 ^ (stream as u64) << 63, line)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Written, records};
    use super::*;

    fn had(written: &[Written<'_>]) -> Had {
        let mut had = Had::default();
        for record in records(written).iter() {
            had.note(&Decoded::from_json(record.text).unwrap());
        }
        had
    }

    fn without(had: &mut Had, written: &[Written<'_>]) -> Vec<String> {
        let kept = had.without(&records(written));
        let decoded = kept.iter().map(|record| Decoded::from_json(record.text).unwrap());
        decoded.map(|record| String::from_utf8(record.bytes).unwrap()).collect()
    }

    #[test]
    fn what_a_sink_had_is_left_out_once_also_after_it_was_saved() {
        let first = [
            Written("web", 1, "\"one\""),
            Written("web", 1, "\"one\""),
            Written("db", 2, "two"),
        ];
        let saved = serde_json::to_value(had(&first)).unwrap();
        let mut had: Had = serde_json::from_value(saved).unwrap();
        let again = [
            Written("web", 1, "\"one\""),
            Written("other", 1, "\"one\""),
            Written("web", 1, "one"),
            Written("web", 1, "\"one\""),
            Written("web", 1, "\"one\""),
        ];
        assert_eq!(without(&mut had, &again), ["\"one\"", "one", "\"one\""]);
        assert!(!had.is_empty());
        assert_eq!(without(&mut had, &first[2..]), Vec::<String>::new());
        assert!(had.is_empty());
        assert_eq!(without(&mut had, &first[2..]), ["two"]);
    }

    #[test]
    fn what_does_not_come_again_is_forgotten_with_later_records_or_with_its_container() {
        let mut had = had(&[Written("web", 5, "gone"), Written("db", 5, "gone")]);
        assert_eq!(without(&mut had, &[Written("web", MARGIN_NANOS, "new")]), ["new"]);
        assert_eq!(had.0.len(), 2, "it can still come");
        assert_eq!(without(&mut had, &[Written("web", MARGIN_NANOS + 6, "new")]), ["new"]);
        assert_eq!(had.0.len(), 1);
        had.retain(|id, _| id.as_str() == "web");
        assert!(had.is_empty());
    }
}
