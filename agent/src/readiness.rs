//! Whether the agent can do its work, and which part of it cannot: what `/readyz` shows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// How one part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Whether the part works.
    pub ready: bool,
    /// How, or why not, in words.
    pub detail: String,
}

/// All parts, by name.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<String, Status>>>);

impl Readiness {
    /// The part of that name. One that is new is not ready at first.
    pub fn part(&self, name: &str) -> Part {
        self.lock().entry(name.to_owned()).or_insert_with(|| Status {
            ready: false,
            detail: "starting".to_owned(),
        });
        Part {
            name: name.to_owned(),
            all: self.clone(),
        }
    }

    /// How every part is now.
    pub fn snapshot(&self) -> BTreeMap<String, Status> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Status>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One part's own entry.
#[derive(Clone, Debug)]
pub struct Part {
    name: String,
    all: Readiness,
}

impl Part {
    /// Marks the part as working; `detail` says how.
    pub fn up(&self, detail: &str) {
        self.set(true, detail);
    }

    /// Marks the part as not working; `detail` says why.
    pub fn down(&self, detail: &str) {
        self.set(false, detail);
    }

    fn set(&self, ready: bool, detail: &str) {
        let detail = detail.to_owned();
        let status = Status { ready, detail };
        self.all.lock().insert(self.name.clone(), status);
    }
}
