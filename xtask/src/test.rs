//! `cargo xtask test`: every test, with an account of those that this machine cannot run.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ExitCode, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::build_ebpf::build_ebpf;
use crate::setup::{self, Part};
use crate::{cargo, say};

pub fn test(filter: Option<&str>) -> Result<ExitCode> {
    setup::ensure(&[Part::KernelHalf, Part::Engine, Part::Witnesses]);
    let mut account = Account::default();
    say::step("building the kernel half");
    if let Err(error) = build_ebpf(cargo::root(), None) {
        account
            .unable
            .insert(format!("the kernel half: it was not built: {error:#}"));
    }
    say::step("building the agent");
    let agent = cargo::build_agent()?;

    say::step("building and running the tests");
    let mut child = cargo::cargo()
        .args(["test", "--no-fail-fast", "--"])
        .args(filter)
        .env("LOG_CAPTURER_BIN", agent)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (
        child.stdout.take().context("piped")?,
        child.stderr.take().context("piped")?,
    );
    let shared = Mutex::new(&mut account);
    std::thread::scope(|scope| {
        scope.spawn(|| pass_on(stderr, std::io::stderr(), &shared, Account::note_message));
        pass_on(stdout, std::io::stdout(), &shared, Account::note_result);
    });
    let status = child.wait()?;

    account.print();
    // Elsewhere a machine may be unable to; where all is required, that is a failure.
    let required = std::env::var("LOG_CAPTURER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    Ok(if status.success() && (account.unable.is_empty() || !required) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn pass_on(from: impl Read, mut to: impl Write, account: &Mutex<&mut Account>, note: fn(&mut Account, &str)) {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let text = String::from_utf8_lossy(&line);
        note(
            &mut account.lock().expect("noting a line does not panic"),
            text.trim_end(),
        );
        // Our own reader may have gone; the tests are to end all the same.
        let _ = to.write_all(&line).and_then(|()| to.flush());
        line.clear();
    }
}

/// What the test runner says, added up.
#[derive(Default)]
struct Account {
    passed: usize,
    failed: usize,
    /// Tests that found that this machine cannot run them: the runner takes them as passed.
    found_unable: BTreeSet<String>,
    /// What was known beforehand, and counted nowhere.
    unable: BTreeSet<String>,
}

impl Account {
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

    fn print(&self) {
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
    fn a_failure_that_names_what_is_missing_stays_a_failure() {
        let mut account = Account::default();
        account.note_result("not run: promises::a: no dockerd");
        account.note_result("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(account.summary(), "0 passed, 1 failed, 0 not run");
    }
}
