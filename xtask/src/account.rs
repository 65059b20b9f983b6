//! What test runners say, passed on and added up.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout};
use std::sync::Mutex;

use anyhow::{Context, Result};

/// Copies line by line, each behind `name`, and shows each to `note`.
fn pass_on(from: impl Read, mut to: impl Write, name: &str, note: impl Fn(&str)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        note(String::from_utf8_lossy(&line).trim_end());
        // In one piece, as several runners can be passed on at once.
        line.splice(..0, name.bytes());
        // Our own reader may have gone; the tests are to end all the same.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.clear();
    }
}

/// The two ends of a test runner that was started with both piped.
pub struct Said {
    stdout: ChildStdout,
    stderr: ChildStderr,
    name: String,
}

impl Said {
    pub fn by(runner: &mut Child) -> Result<Self> {
        let (stdout, stderr) = (runner.stdout.take(), runner.stderr.take());
        Ok(Self {
            stdout: stdout.context("standard output is not piped")?,
            stderr: stderr.context("standard error is not piped")?,
            name: String::new(),
        })
    }

    /// Each of its lines is passed on behind this name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = format!("{name}: ");
        self
    }
}

/// What the test runner says, added up.
#[derive(Default)]
pub struct Account {
    passed: usize,
    pub failed: usize,
    /// Tests that found that this machine cannot run them: the runner takes them as passed.
    found_unable: BTreeSet<String>,
    /// What was known beforehand, and counted nowhere.
    pub unable: BTreeSet<String>,
}

impl Account {
    /// Notes and passes on what a test runner says, until it says no more. `see` is shown its standard output.
    pub fn follow(&mut self, said: Said, see: impl Fn(&str)) {
        let account = Mutex::new(self);
        let note = |note: fn(&mut Self, &str), line: &str| {
            note(&mut account.lock().expect("noting a line does not panic"), line);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pass_on(said.stderr, std::io::stderr(), &said.name, |line| {
                    note(Self::note_message, line)
                })
            });
            pass_on(said.stdout, std::io::stdout(), &said.name, |line| {
                note(Self::note_result, line);
                see(line);
            });
        });
    }

    /// `test: reason` of each that found that this machine cannot run it.
    pub fn found_unable(&self) -> impl Iterator<Item = &str> {
        self.found_unable.iter().map(String::as_str)
    }

    /// One more, which no test runner has run.
    pub fn count(&mut self, passed: bool) {
        *if passed { &mut self.passed } else { &mut self.failed } += 1;
    }

    /// With this place before each name.
    pub fn named(mut self, place: &str) -> Self {
        for names in [&mut self.found_unable, &mut self.unable] {
            *names = names.iter().map(|name| format!("{place}: {name}")).collect();
        }
        self
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.found_unable.extend(other.found_unable);
        self.unable.extend(other.unable);
    }

    /// From standard error: `not run: test: reason`.
    fn note_message(&mut self, line: &str) {
        self.found_unable
            .extend(line.strip_prefix("not run: ").map(str::to_owned));
    }

    /// From standard output: the runner's lines.
    fn note_result(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
        } else if let Some((test, reason)) = ignored(line) {
            self.unable.insert(format!("{test}: {reason}"));
        }
    }

    fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.found_unable.len());
        let not_run = self.found_unable.len() + self.unable.len();
        format!("{passed} passed, {} failed, {not_run} not run", self.failed)
    }

    pub fn print(&self) {
        for what in self.found_unable.union(&self.unable) {
            println!("not run: {what}");
        }
        println!("{}", self.summary());
    }
}

/// From `ok. 3 passed; 0 failed; 1 ignored; ...`.
fn count(counts: &str, what: &str) -> usize {
    let words: Vec<&str> = counts.split([' ', ';']).collect();
    let number = words
        .windows(2)
        .find(|pair| pair[1] == what)
        .and_then(|pair| pair[0].parse().ok());
    number.unwrap_or_default()
}

/// From `test name ... ignored, reason`.
fn ignored(line: &str) -> Option<(&str, &str)> {
    let (test, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    Some((test, rest.strip_prefix(", ").unwrap_or("marked as ignored")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_could_not_run_has_not_passed() {
        let mut account = Account::default();
        account.note_message("not run: promises::a: no dockerd");
        for line in [
            "test promises::a ... ok",
            "test promises::b ... ignored, takes an hour",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        ] {
            account.note_result(line);
        }
        assert_eq!(account.summary(), "6 passed, 2 failed, 2 not run");
        assert!(account.unable.contains("promises::b: takes an hour"));
    }

    #[test]
    fn another_place_is_named() {
        let (mut account, mut other) = (Account::default(), Account::default());
        for account in [&mut account, &mut other] {
            account.note_message("not run: fentry: refused");
            account.note_result("test result: ok. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        }
        account.add(other.named("elsewhere"));
        assert_eq!(account.summary(), "4 passed, 2 failed, 2 not run");
        assert!(account.found_unable.contains("elsewhere: fentry: refused"));
    }

    #[test]
    fn a_failure_that_names_what_is_missing_stays_a_failure() {
        let mut account = Account::default();
        account.note_result("not run: promises::a: no dockerd");
        account.note_result("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(account.summary(), "0 passed, 1 failed, 0 not run");
    }
}
