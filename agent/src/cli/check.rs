use std::process::ExitCode;

use crate::config::Sources;

pub fn check(sources: &Sources) -> ExitCode {
    super::usable(sources).map_or_else(|unusable| unusable, |_| ExitCode::SUCCESS)
}
