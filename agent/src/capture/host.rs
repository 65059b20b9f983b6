//! The `host` of records whose configuration names none.

use std::sync::OnceLock;

use tracing::warn;

use crate::engine::{Engine, EngineError};

/// The name of the machine that the containers run on. It is known before the first record is made.
#[derive(Debug, Default)]
pub struct Host(OnceLock<String>);

impl Host {
    /// Finds the name out, unless that is done. In a container the system's name is the container's id, so the engine
    /// is asked. It fails if the engine is away.
    pub(super) async fn learn(&self, engine: &Engine, in_a_container: bool) -> Result<(), EngineError> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let named = if in_a_container { asked(engine).await? } else { None };
        let name = named.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
        // There is one who learns.
        let _ = self.0.set(name);
        Ok(())
    }

    /// The name, unless the configuration has another.
    pub(super) fn unless<'a>(&'a self, configured: &'a str) -> &'a str {
        match configured {
            "" => self.0.get().map_or("", String::as_str),
            configured => configured,
        }
    }
}

/// `None` if the engine answers and does not say: a proxy before it may refuse the question.
async fn asked(engine: &Engine) -> Result<Option<String>, EngineError> {
    match engine.name().await {
        Ok(name) => Ok(Some(name).filter(|name| !name.is_empty())),
        Err(error) if error.engine_is_away() => Err(error),
        Err(error) => {
            warn!(%error, "the engine does not tell its machine's name: records have this container's; `host` sets another");
            Ok(None)
        }
    }
}
