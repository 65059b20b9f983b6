//! `cargo xtask check`: all checks run, whatever one of them finds.

mod layering;
mod links;
mod lints;
mod metrics;
mod promised;
pub mod source;
mod words;

use std::process::ExitCode;

use anyhow::Result;

use crate::setup::{self, Part};

type Check = (&'static str, fn() -> Result<()>);

const CHECKS: [Check; 9] = [
    ("format", lints::format),
    ("clippy", lints::clippy),
    ("licences", lints::licences),
    ("metrics that nothing changes", metrics::check),
    ("layering", layering::check),
    ("words", words::check),
    ("reference", crate::docs::check),
    ("links", links::check),
    ("promises that are tests", promised::check),
];

pub fn check() -> Result<ExitCode> {
    setup::ensure(&[Part::Licences]);
    let mut failed = 0;
    for (name, check) in CHECKS {
        match check() {
            Ok(()) => println!("ok      {name}"),
            Err(error) => {
                failed += 1;
                println!("FAILED  {name}: {error:#}");
            }
        }
    }
    println!("{} checks passed, {failed} failed", CHECKS.len() - failed);
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
