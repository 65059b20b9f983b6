use std::process::ExitCode;

use crate::config::Sources;

pub fn check(sources: &Sources) -> ExitCode {
    match sources.load() {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(super::UNUSABLE)
        }
    }
}
