//! What runs beside capture for as long as the agent does.
//!
//! None of it ever ends by itself. If one does, it has failed, and the agent would go on without it: no batch is handed
//! over any more, no position is saved, or nobody answers at the admin address. So that ends the agent, which says which
//! one it was.

use std::collections::HashMap;
use std::fmt;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

/// The tasks, each with a name.
#[derive(Debug, Default)]
pub(super) struct Background {
    tasks: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// A task that should not have ended.
#[derive(Debug)]
pub(super) struct Ended {
    name: &'static str,
    error: Option<JoinError>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the agent cannot go on without its task {}, ", self.name)?;
        match &self.error {
            Some(error) => write!(f, "which has failed: {error}; please report this"),
            None => write!(f, "which has ended; please report this"),
        }
    }
}

impl Background {
    pub(super) fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let handle = self.tasks.spawn(task);
        self.names.insert(handle.id(), name);
        handle
    }

    /// Waits until one ends.
    pub(super) async fn ended(&mut self) -> Ended {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return std::future::pending().await;
        };
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let name = self.names.remove(&id).unwrap_or("without a name");
        Ended { name, error }
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn one_that_ends_is_told_by_its_name_and_why() {
        let mut background = Background::default();
        background.spawn("tend", std::future::pending());
        let waited = tokio::time::timeout(Duration::from_millis(20), background.ended()).await;
        assert!(waited.is_err(), "none has ended");
        background.spawn("flush", async { panic!("no room in the table") });
        let said = background.ended().await.to_string();
        assert!(
            said.contains("its task flush") && said.contains("no room in the table"),
            "{said}"
        );
        background.spawn("admin", async {});
        let said = background.ended().await.to_string();
        assert!(said.contains("its task admin, which has ended"), "{said}");
        background.shutdown().await;
    }

    #[tokio::test]
    async fn nothing_ends_where_nothing_runs() {
        let mut background = Background::default();
        let waited = tokio::time::timeout(Duration::from_millis(20), background.ended()).await;
        assert!(waited.is_err());
    }
}
