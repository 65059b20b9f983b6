//! `cargo xtask check`: all checks run, whatever one of them finds.

mod circles;
mod deployment;
mod layering;
mod links;
mod lints;
mod metrics;
mod observability;
mod promised;
mod test_files;
mod unsafe_rooms;
mod words;

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::setup::{self, Part};

type Check = (&'static str, fn() -> Result<()>);

const LICENCES: &str = "licences";

const CHECKS: [Check; 14] = [
    ("format", lints::format),
    ("clippy", lints::clippy),
    (LICENCES, lints::licences),
    ("metrics that nothing changes", metrics::check),
    ("layering", layering::check),
    ("circles", circles::check),
    ("test files", test_files::check),
    ("unsafe code", unsafe_rooms::check),
    ("words", words::check),
    ("reference", crate::docs::check),
    ("links", links::check),
    ("observability", observability::check),
    ("deployment", deployment::check),
    ("promises that are tests", promised::check),
];

/// Those whose name contains the filter; without one, all.
pub fn check(filter: Option<&str>) -> Result<ExitCode> {
    let is_asked = |name: &str| filter.is_none_or(|filter| name.contains(filter));
    let asked: Vec<Check> = CHECKS.into_iter().filter(|(name, _)| is_asked(name)).collect();
    ensure!(!asked.is_empty(), "no check has such a name");
    if is_asked(LICENCES) {
        setup::ensure(&[Part::Licences]);
    }
    let mut failed = 0;
    for (name, check) in &asked {
        match check() {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
    println!("{} checks passed, {failed} failed", asked.len() - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
