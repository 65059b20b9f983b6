//! What rules see of a container and its records bear: what it was created with, whoever told of it first.
//!
//! Neither of the two that tell of containers says all of it. A start event has name and image among the labels, and
//! overwrites labels that are called so. The list tells an image by its id as soon as its tag is another image's. So the
//! engine is asked for the container itself where what was told may be otherwise.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use crate::engine::{Engine, Inspected, TransportError};
use crate::record::{Container, ContainerId};

/// How long the engine may take to describe one container: one that it cannot get at must not be waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Containers that wait for their descriptions at a time before the list is to describe the further ones: it describes all
/// of them by one request.
const FEW: usize = 8;
/// How long the further ones leave the list to do so.
const LISTED: Duration = Duration::from_secs(5);

/// Who told of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Teller {
    Event,
    List,
}

#[derive(Debug)]
struct Images(Mutex<HashMap<ContainerId, String>>);

impl Images {
    fn lock(&self) -> MutexGuard<'_, HashMap<ContainerId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks for descriptions, few at a time.
pub(super) struct Descriptions {
    engine: Engine,
    /// Images of the containers of which the list tells only an image's id.
    images: Images,
    /// Containers that have just been started do not wait behind the many of a list.
    asked_for_events: Semaphore,
    asked_for_list: Semaphore,
    /// That one could not be had has been told.
    complained: AtomicBool,
    waiting: Arc<AtomicUsize>,
}

/// One that waits for its description.
pub(super) struct Waiting {
    all: Arc<AtomicUsize>,
    is_one_of_many: bool,
}

impl Waiting {
    /// Whether the list is to describe it.
    pub(super) fn is_one_of_many(&self) -> bool {
        self.is_one_of_many
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Descriptions {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            images: Images(Mutex::default()),
            asked_for_events: Semaphore::new(2),
            asked_for_list: Semaphore::new(1),
            complained: AtomicBool::new(false),
            waiting: Arc::default(),
        }
    }

    /// Whether one more would wait for the list.
    pub(super) fn are_many(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) >= FEW
    }

    /// One more waits.
    pub(super) fn waits(&self) -> Waiting {
        Waiting {
            is_one_of_many: self.waiting.fetch_add(1, Ordering::Relaxed) >= FEW,
            all: Arc::clone(&self.waiting),
        }
    }

    /// The image that a container was created with, where the engine was asked for it before.
    pub(super) fn known_image(&self, container: &ContainerId) -> Option<String> {
        self.images.lock().get(container).cloned()
    }

    /// Forgets all other containers.
    pub(super) fn retain(&self, is_there: impl Fn(&ContainerId) -> bool) {
        self.images.lock().retain(|id, _| is_there(id));
    }

    /// What `told` was created with; `None` where the engine does not say it.
    pub(super) async fn of(&self, told: &Container, teller: Teller, waiting: &Waiting) -> Option<Inspected> {
        if waiting.is_one_of_many && teller == Teller::Event {
            sleep(LISTED).await;
        }
        let queue = match teller {
            Teller::Event => &self.asked_for_events,
            Teller::List => &self.asked_for_list,
        };
        let answer = {
            let _turn = queue.acquire().await.ok()?;
            timeout(PATIENCE, self.engine.inspect(&told.id)).await
        };
        let step = "describing a container";
        let late = TransportError::Timeout { step, limit: PATIENCE };
        let answer = answer.unwrap_or(Err(late.into()));
        let container = told.name.as_str();
        match answer {
            Ok(described) => {
                self.complained.store(false, Ordering::Relaxed);
                if teller == Teller::List {
                    self.images.lock().insert(told.id.clone(), described.image.clone());
                }
                Some(described)
            }
            Err(error) if error.status() == Some(404) => {
                debug!(container, "removed before it was described");
                None
            }
            Err(error) => {
                if !self.complained.swap(true, Ordering::Relaxed) {
                    warn!(
                        container, %error,
                        "the engine does not describe this container: rules and records go by what it told of it before, \
                         as they do for others until this is over"
                    );
                }
                None
            }
        }
    }
}

/// `told` with what it was created with. The name stays: it changes, and who told of the container follows that.
pub(super) fn completed(told: &Container, described: Inspected) -> Container {
    Container {
        id: told.id.clone(),
        name: told.name.clone(),
        image: described.image,
        labels: described.labels.unwrap_or_else(|| told.labels.clone()),
    }
}
