//! What cargo's own tools check.

use anyhow::{Context, Result};

use crate::cargo;

pub fn format() -> Result<()> {
    cargo::run(cargo::cargo().args(["fmt", "--all", "--check"])).context("run `cargo fmt --all`")
}

pub fn clippy() -> Result<()> {
    cargo::run(cargo::cargo().args(["clippy", "--all-targets", "--quiet", "--", "--deny=warnings"]))
        .context("mend what clippy names above; refuse a lint only with a reason")
}

/// Not the advisories: their database is fetched, and a check is to give the same answer tomorrow.
pub fn licences() -> Result<()> {
    cargo::run(cargo::cargo().args(["deny", "--log-level=error", "check", "licenses", "bans", "sources"]))
        .context("see deny.toml: leave that crate out, or allow its licence there with a reason")
}
