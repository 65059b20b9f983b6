//! A container that writes out what is captured of it: each record would become a line, and each line a longer record.
//!
//! It is the agent's own container where that could not be told, or another agent's that captures this one, or one that
//! prints a file of the agent's. All of these are known by the same sign: a line that is a record of the container's own
//! line.

use memchr::memmem;

use crate::record::ContainerId;

/// So many records of its own lines a container may write. It may print some that somebody looks for.
const TOLERATED: u8 = 3;
/// How every record begins.
const RECORD: &[u8] = b"{\"ts\":\"";

/// What was seen of one container.
#[derive(Debug, Default)]
pub(super) struct Loop {
    seen: u8,
}

/// What a line is to a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    None,
    /// It is to be left out, and the first such line.
    First,
    /// It is to be left out.
    Further,
}

impl Loop {
    /// Judges the next line of a container.
    #[inline]
    pub(super) fn judge(&mut self, line: &[u8], container: &ContainerId) -> Part {
        if !line.starts_with(RECORD) || !names(line, container) {
            return Part::None;
        }
        self.seen = self.seen.saturating_add(1);
        match self.seen {
            ..=TOLERATED => Part::None,
            seen if seen == TOLERATED + 1 => Part::First,
            _ => Part::Further,
        }
    }
}

/// Whether a record is of this container, or has such a record in its line, however deep.
fn names(record: &[u8], container: &ContainerId) -> bool {
    memmem::find_iter(record, container.as_str()).any(|at| is_behind_key(&record[..at]))
}

/// Whether `"id":"` stands there, with any number of backslashes before each quote.
fn is_behind_key(text: &[u8]) -> bool {
    let behind = |text: &[u8], end: &[u8]| -> Option<usize> {
        let text = text.strip_suffix(end)?;
        Some(text.iter().rposition(|&byte| byte != b'\\').map_or(0, |at| at + 1))
    };
    let Some(colon) = behind(text, b"\"") else {
        return false;
    };
    let key = text[..colon]
        .strip_suffix(b":")
        .and_then(|text| Some(&text[..behind(text, b"\"")?]));
    key.is_some_and(|text| text.ends_with(b"\"id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, line: &str) -> String {
        let line = serde_json::to_string(line).unwrap();
        format!(
            "{{\"ts\":\"2026-11-20T15:04:58.662848374Z\",\"stream\":\"stdout\",\"line\":{line},\"container\":{{\"id\":\"{id}\",\
             \"name\":\"web\"}},\"host\":\"h\"}}"
        )
    }

    #[test]
    fn records_of_its_own_lines_are_told_apart_from_all_others() {
        let (own, other) = ("ab".repeat(32), "cd".repeat(32));
        let id = ContainerId::new(&own);
        let once = record(&own, "hello");
        let by_another = record(&other, &once);
        for line in [&once, &record(&own, &once), &by_another, &record(&other, &by_another)] {
            assert!(names(line.as_bytes(), &id), "{line}");
        }
        for line in [
            record(&other, "hello"),
            record(&other, &own),
            format!("{{\"ts\":\"x\",\"container\":\"{own}\",\"valid\":\"{own}\"}}"),
        ] {
            assert_eq!(Loop { seen: 200 }.judge(line.as_bytes(), &id), Part::None, "{line}");
        }
        let not_a_record = format!("{{\"id\":\"{own}\"}}");
        assert_eq!(Loop { seen: 200 }.judge(not_a_record.as_bytes(), &id), Part::None);
    }

    #[test]
    fn a_few_are_let_through() {
        let own = "ab".repeat(32);
        let (id, line) = (ContainerId::new(&own), record(&own, "x"));
        let mut lines = Loop::default();
        let parts: Vec<_> = (0..300).map(|_| lines.judge(line.as_bytes(), &id)).collect();
        assert_eq!(parts[..3], [Part::None; 3]);
        assert_eq!(parts[3], Part::First);
        assert!(parts[4..].iter().all(|part| *part == Part::Further));
    }
}
