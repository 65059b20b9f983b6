//! What passes on each engine, as the documents show it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::cargo;
use crate::setup::dockerd::Dockerd;

const PAGE: &str = "docs/evidence/engines.md";
const BEGIN: &str = "<!-- written by `cargo xtask engines --write` -->\n";
const END: &str = "<!-- end of what it writes -->\n";

/// What came of a test.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed,
    /// With the reason.
    NotRun(String),
}

impl Outcome {
    /// From `test name ... ok`, with the test.
    pub fn said(line: &str) -> Option<(&str, Self)> {
        let (test, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
        let outcome = match outcome {
            "ok" => Self::Passed,
            "FAILED" => Self::Failed,
            _ => return None,
        };
        Some((test, outcome))
    }
}

/// An engine, and what came of each test on it.
pub struct Column {
    engine: String,
    tests: BTreeMap<String, Outcome>,
}

impl Column {
    pub fn of(dockerd: &Dockerd) -> Self {
        Self {
            engine: dockerd.to_string(),
            tests: BTreeMap::new(),
        }
    }

    pub fn note(&mut self, test: &str, outcome: Outcome) {
        self.tests.insert(test.to_owned(), outcome);
    }

    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// `4`, or `3 of 4` where not all passed.
    fn cell(&self, file: &str) -> String {
        let of_file = || self.tests.iter().filter(|(test, _)| file_of(test) == file);
        let all = of_file().count();
        let passed = of_file().filter(|(_, outcome)| **outcome == Outcome::Passed).count();
        match (passed, all) {
            (_, 0) => "–".to_owned(),
            (passed, all) if passed == all => all.to_string(),
            (passed, all) => format!("{passed} of {all}"),
        }
    }
}

/// `drivers` of `drivers::the_local_driver_is_read_like_any_other`.
fn file_of(test: &str) -> &str {
    test.split_once("::").map_or(test, |(file, _)| file)
}

/// A row for each file of promises, a column for each engine, and below it each test that has not passed.
pub fn of(columns: &[Column]) -> String {
    let files: BTreeSet<&str> = columns
        .iter()
        .flat_map(|column| column.tests.keys())
        .map(|test| file_of(test))
        .collect();
    let mut text = String::from("| promises passed |");
    for column in columns {
        let _ = write!(text, " {} |", column.engine);
    }
    text += "\n|---|";
    text += &"---|".repeat(columns.len());
    for file in files {
        let _ = write!(text, "\n| `{file}` |");
        for column in columns {
            let _ = write!(text, " {} |", column.cell(file));
        }
    }
    text += "\n\n";
    text += &not_passed(columns);
    text
}

fn not_passed(columns: &[Column]) -> String {
    let mut text = String::new();
    for Column { engine, tests } in columns {
        for (test, outcome) in tests {
            let what = match outcome {
                Outcome::Passed => continue,
                Outcome::Failed => "failed",
                Outcome::NotRun(reason) => &format!("not run: {reason}"),
            };
            let _ = writeln!(text, "- {engine}, `{test}`: {what}");
        }
    }
    if text.is_empty() {
        text += "None failed, and none was left out.\n";
    }
    text
}

/// Puts it into the page, in the place of the last one.
pub fn write(table: &str) -> Result<()> {
    let path = cargo::root().join(PAGE);
    let page = std::fs::read_to_string(&path).context(PAGE)?;
    let page = with_table(&page, table).with_context(|| format!("{PAGE} has no place for the table"))?;
    Ok(std::fs::write(path, page)?)
}

fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(engine: &str, said: &[&str]) -> Column {
        let tests = said.iter().filter_map(|line| Outcome::said(line));
        Column {
            engine: engine.to_owned(),
            tests: tests.map(|(test, outcome)| (test.to_owned(), outcome)).collect(),
        }
    }

    #[test]
    fn what_has_not_passed_is_named_and_not_counted_as_passed() {
        let old = column("Engine 1", &["test files::a ... ok", "test files::b ... ok"]);
        let mut new = column("Engine 2", &["test files::a ... ok", "test files::b ... FAILED"]);
        new.note("record::c", Outcome::NotRun("no root".to_owned()));
        let table = of(&[old, new]);
        let rows: Vec<&str> = table.lines().collect();
        assert_eq!(
            rows,
            [
                "| promises passed | Engine 1 | Engine 2 |",
                "|---|---|---|",
                "| `files` | 2 | 1 of 2 |",
                "| `record` | – | 0 of 1 |",
                "",
                "- Engine 2, `files::b`: failed",
                "- Engine 2, `record::c`: not run: no root",
            ]
        );
    }

    #[test]
    fn the_page_keeps_what_stands_around_the_table() {
        let page = format!("before\n{BEGIN}old\n{END}after\n");
        let written = with_table(&page, "new\n").unwrap();
        assert_eq!(written, format!("before\n{BEGIN}\nnew\n\n{END}after\n"));
        assert_eq!(with_table(&written, "new\n").as_ref(), Some(&written));
        assert_eq!(with_table("no place", "new\n"), None);
    }
}
