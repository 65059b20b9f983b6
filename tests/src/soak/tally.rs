//! Every line counted, while the run goes on: the sink is read as it grows, and of a container that is long gone only the
//! verdict is kept.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::lines::Captured;
use crate::writers::Writer;

/// So long after its removal a container's lines may still come; what comes later is told, too.
const SETTLES: Duration = Duration::from_secs(20);
const STREAMS: [&str; 2] = ["stdout", "stderr"];

/// A container that is gone.
pub struct Gone {
    /// What it was to write.
    pub writer: Writer,
    /// By stream, what the engine had at the removal: where it was killed meanwhile, it may itself have lost or torn a line.
    pub logged: Option<[Vec<Vec<u8>>; 2]>,
    /// It was removed while it wrote: where its log ends for the agent nobody knows.
    pub in_mid_writing: bool,
    /// When it was removed.
    pub since: Instant,
}

impl Gone {
    /// What the engine has of a container, for [`Gone::logged`].
    pub fn logged(engine: &Engine, container: &str) -> [Vec<Vec<u8>>; 2] {
        STREAMS.map(|stream| engine.logged(container, stream))
    }

    /// What is to be captured, given what was.
    fn expected(&self, stream: usize, captured: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut lines = self.writer.expected(STREAMS[stream]);
        if let Some(logged) = &self.logged {
            let logged = &logged[stream];
            let last = logged
                .iter()
                .rev()
                .find_map(|line| lines.iter().position(|it| it == line));
            let later = lines.split_off(last.map_or(0, |last| last + 1));
            lines.clone_from(logged);
            if self.in_mid_writing {
                lines.extend(later);
            }
        }
        if self.in_mid_writing {
            let last = captured
                .iter()
                .filter_map(|line| lines.iter().rposition(|it| it == line))
                .max();
            lines.truncate(last.map_or(0, |last| last + 1));
        }
        lines
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Containers that were kept until they were read.
    pub kept: usize,
    /// Containers that were removed while they wrote.
    pub removed: usize,
    /// How many lines were due.
    pub lines: usize,
    /// How many of them did not come.
    pub missing: usize,
    /// How many came more than once.
    pub doubled: usize,
    /// Missing in the engine's own log after it was killed.
    pub lost_by_engine: usize,
    /// What was wrong, a text for each container.
    pub complaints: Vec<String>,
}

/// Holds what a file sink has against what containers wrote, while the soak goes on.
pub struct Tally {
    sink: File,
    /// A line of which the end has not come.
    rest: Vec<u8>,
    captured: Captured,
    gone: Vec<Gone>,
    settled: HashSet<String>,
    verdict: Verdict,
}

impl Tally {
    /// Reads this file, from its beginning.
    pub fn of(sink: &Path) -> Self {
        Self {
            sink: File::open(sink).expect("open the sink's file"),
            rest: Vec::new(),
            captured: Captured::default(),
            gone: Vec::new(),
            settled: HashSet::new(),
            verdict: Verdict::default(),
        }
    }

    /// How many lines of a container have come.
    pub fn count(&self, container: &str) -> usize {
        STREAMS
            .iter()
            .map(|stream| self.captured.lines(container, stream).len())
            .sum()
    }

    /// A container was removed: its lines are judged once they have settled.
    pub fn is_gone(&mut self, gone: Gone) {
        self.gone.push(gone);
    }

    /// Reads what has come, and judges what has settled.
    pub fn advance(&mut self) {
        self.read();
        let settled = self
            .gone
            .extract_if(.., |gone| gone.since.elapsed() > SETTLES)
            .collect::<Vec<_>>();
        settled.into_iter().for_each(|gone| self.settle(gone));
    }

    /// After the agent's end, when nothing comes any more.
    pub fn finish(mut self) -> Verdict {
        self.read();
        for gone in std::mem::take(&mut self.gone) {
            self.settle(gone);
        }
        if !self.rest.is_empty() {
            self.verdict.complaints.push("the sink's last line is not whole".into());
        }
        self.verdict
    }

    fn read(&mut self) {
        self.sink.read_to_end(&mut self.rest).expect("read the sink's file");
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        self.captured.add(&lines).expect("records of the contract");
        let late = self.captured.containers();
        let late: Vec<_> = late
            .into_iter()
            .filter(|name| self.settled.contains(*name))
            .map(str::to_owned)
            .collect();
        for name in late {
            let lines = self.count(&name);
            self.verdict.doubled += lines;
            self.verdict
                .complaints
                .push(format!("{name}: {lines} lines came long after its removal"));
            self.captured.remove(&name);
        }
    }

    fn settle(&mut self, gone: Gone) {
        let name = &gone.writer.name;
        let mut expected_lines = 0;
        for (number, stream) in STREAMS.into_iter().enumerate() {
            let expected = gone.expected(number, self.captured.lines(name, stream));
            let account = self.captured.account(name, stream, &expected);
            expected_lines += expected.len();
            self.verdict.missing += account.missing.len();
            self.verdict.doubled += account.doubled.len() + account.unexpected.len();
            if !account.is_exact() {
                let complaint = account.complaint();
                self.verdict.complaints.push(format!("{name} {stream}: {complaint}"));
            }
        }
        self.verdict.lines += expected_lines;
        if gone.in_mid_writing {
            self.verdict.removed += 1;
        } else {
            self.verdict.kept += 1;
            self.verdict.lost_by_engine += gone.writer.lines.saturating_sub(expected_lines);
        }
        self.captured.remove(name);
        self.settled.insert(gone.writer.name);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::writers::Kind;

    fn record(line: &[u8]) -> String {
        let line = str::from_utf8(line).expect("text");
        let (container, id) = (line.split(' ').next().expect("a name"), "a".repeat(64));
        format!(
            "{{\"ts\":\"2026-11-20T15:04:58.662848374Z\",\"stream\":\"stdout\",\"line\":\"{line}\",\"container\":\
             {{\"id\":\"{id}\",\"name\":\"{container}\",\"image\":\"i\",\"labels\":{{}}}},\"host\":\"h\"}}\n"
        )
    }

    fn judge(captured: impl Fn(&[Vec<u8>]) -> Vec<Vec<u8>>, gone: impl Fn(Writer) -> Gone) -> Verdict {
        let writer = Writer::new("w", Kind::Short, 5);
        let mut sink = tempfile::NamedTempFile::new().expect("a file");
        let mut tally = Tally::of(sink.path());
        let lines = captured(&writer.expected("stdout"));
        let text: String = lines.iter().map(|line| record(line)).collect();
        let (early, late) = text.split_at(text.len() / 3);
        for part in [early, late] {
            sink.write_all(part.as_bytes()).expect("write");
            tally.advance();
        }
        assert_eq!(tally.count("w"), lines.len());
        tally.is_gone(gone(writer));
        tally.finish()
    }

    fn gone(in_mid_writing: bool, logged: Option<Vec<Vec<u8>>>) -> impl Fn(Writer) -> Gone {
        move |writer| Gone {
            writer,
            logged: logged.clone().map(|lines| [lines, Vec::new()]),
            in_mid_writing,
            since: Instant::now(),
        }
    }

    #[test]
    fn of_a_container_that_was_kept_every_line_is_due() {
        let verdict = judge(<[_]>::to_vec, gone(false, None));
        assert_eq!((verdict.lines, verdict.missing, verdict.doubled), (5, 0, 0));
        assert!(verdict.complaints.is_empty(), "{verdict:?}");
        let verdict = judge(|lines| lines[..4].to_vec(), gone(false, None));
        assert_eq!((verdict.missing, verdict.doubled), (1, 0));
        let verdict = judge(|lines| [lines, &lines[4..]].concat(), gone(false, None));
        assert_eq!((verdict.missing, verdict.doubled), (0, 1));
    }

    #[test]
    fn of_one_that_was_removed_in_mid_writing_the_last_ones_may_be_missing_and_none_before() {
        let verdict = judge(|lines| lines[..3].to_vec(), gone(true, None));
        assert!(verdict.lines == 3 && verdict.complaints.is_empty(), "{verdict:?}");
        let verdict = judge(|lines| vec![lines[0].clone(), lines[2].clone()], gone(true, None));
        assert_eq!(verdict.missing, 1);
    }

    #[test]
    fn what_a_killed_engine_has_lost_itself_is_not_due_and_is_told() {
        let had = |which: &[usize]| {
            let all = Writer::new("w", Kind::Short, 5).expected("stdout");
            which.iter().map(|at| all[*at].clone()).collect::<Vec<_>>()
        };
        let verdict = judge(|_| had(&[0, 1, 3, 4]), gone(false, Some(had(&[0, 1, 3, 4]))));
        assert!(
            verdict.lost_by_engine == 1 && verdict.complaints.is_empty(),
            "{verdict:?}"
        );
        let verdict = judge(|_| had(&[0, 3]), gone(false, Some(had(&[0, 1, 3, 4]))));
        assert_eq!(verdict.missing, 2);
        // It wrote on after the engine was asked.
        let verdict = judge(|_| had(&[0, 2, 3]), gone(true, Some(had(&[0, 2]))));
        assert!(verdict.missing == 0 && verdict.complaints.is_empty(), "{verdict:?}");
    }
}
