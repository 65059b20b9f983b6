use std::process::ExitCode;

use super::exit::Exit;
use super::print::{print, shown};
use crate::config::Sources;

pub(super) fn show(sources: &Sources) -> ExitCode {
    match sources.effective() {
        Ok(text) => shown(print(&text).map(|()| Exit::Success.into()).map_err(Into::into)),
        Err(invalid) => {
            eprintln!("{invalid}");
            Exit::Unusable.into()
        }
    }
}
