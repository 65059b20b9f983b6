use std::process::ExitCode;

use super::exit::Exit;
use crate::config::Sources;

pub fn check(sources: &Sources) -> ExitCode {
    super::usable(sources).map_or_else(|unusable| unusable, |_| Exit::Success.into())
}
