//! The configuration, as the commands need it that use the engine.

use std::process::ExitCode;

use super::exit::Exit;
use crate::config::{Config, Sources};
use crate::engine::Endpoint;

/// The configuration, and the way to the engine that it names, with the files that it takes. What is wrong has been said.
pub(crate) fn usable(sources: &Sources) -> Result<(Config, Endpoint), ExitCode> {
    crate::app::load(sources).map_err(|error| {
        eprintln!("{error}");
        Exit::Unusable.into()
    })
}
