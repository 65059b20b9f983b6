use std::process::ExitCode;

use super::exit::Exit;
use super::usable::usable;
use crate::config::Sources;

pub(super) fn check(sources: &Sources) -> ExitCode {
    usable(sources).map_or_else(|unusable| unusable, |_| Exit::Success.into())
}
