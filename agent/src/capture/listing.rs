//! When the list of containers is asked for, and what events have told meanwhile.
//!
//! It goes on beside the events: where the list fails, or takes for ever, containers that are started are captured all
//! the same.

use std::collections::HashSet;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::engine::{Delays, Engine, EngineError, List, Retry};
use crate::record::ContainerId;

/// How often the list is compared with what the events told.
const RECONCILE: Duration = Duration::from_secs(60);
/// How long after a reason to ask the list is asked for: there may be more reasons in a moment.
const SOON: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = Result<List, EngineError>> + Send>>;

/// Asks again and again.
pub(super) struct Listing {
    engine: Engine,
    retry: Retry,
    delays: Delays,
    due: Instant,
    asking: Option<Asking>,
    /// There was a reason to ask once more while it was asked.
    again: bool,
    /// What events have told of since the list was asked for: it may not know that.
    told_of: HashSet<ContainerId>,
    complained: Option<String>,
}

/// A list, and the containers of which the events know more.
pub(super) struct Answer {
    pub list: List,
    pub told_of: HashSet<ContainerId>,
}

impl Listing {
    /// The first list is asked for at once.
    pub(super) fn new(engine: Engine, retry: Retry) -> Self {
        Self {
            engine,
            retry,
            delays: retry.delays(),
            due: Instant::now(),
            asking: None,
            again: false,
            told_of: HashSet::new(),
            complained: None,
        }
    }

    /// An event has told of a container.
    pub(super) fn told_of(&mut self, container: &ContainerId) {
        if self.asking.is_some() {
            self.told_of.insert(container.clone());
        }
    }

    /// There is something that only the list can tell.
    pub(super) fn ask_soon(&mut self) {
        self.ask_within(SOON);
    }

    pub(super) fn ask_at_once(&mut self) {
        self.ask_within(Duration::ZERO);
    }

    fn ask_within(&mut self, pause: Duration) {
        self.again |= self.asking.is_some();
        // Not where it has failed: then it is asked for soon enough.
        if self.complained.is_none() {
            self.due = self.due.min(Instant::now() + pause);
        }
    }

    /// The next list, or why there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Answer, String> {
        if self.asking.is_none() {
            sleep_until(self.due).await;
            self.told_of.clear();
        }
        let engine = &self.engine;
        let asking = self.asking.get_or_insert_with(|| {
            let engine = engine.clone();
            Box::pin(async move { engine.list().await })
        });
        let listed = asking.await;
        self.asking = None;
        let again = std::mem::take(&mut self.again);
        match listed {
            Ok(list) => {
                self.delays = self.retry.delays();
                self.due = Instant::now() + if again { SOON } else { RECONCILE };
                if self.complained.take().is_some() {
                    info!("the list of containers can be had again");
                }
                let told_of = std::mem::take(&mut self.told_of);
                Ok(Answer { list, told_of })
            }
            Err(error) => {
                self.due = Instant::now() + self.delays.grown().max(SOON);
                let text = error.to_string();
                if self.complained.as_ref() != Some(&text) {
                    warn!(
                        error = text,
                        "the list of containers cannot be had; containers that are started are captured all the same"
                    );
                }
                Err(self.complained.insert(text).clone())
            }
        }
    }
}
