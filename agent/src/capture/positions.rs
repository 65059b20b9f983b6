//! Every container's position, as of the last line that was handed to the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::resume::Position;
use super::seen::Seen;
use crate::encode::Decoded;
use crate::record::ContainerId;

/// Shared between the followers, who move their own, and whoever saves them all.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Shared with a checkpoint on its way to the disk.
    all: HashMap<ContainerId, Arc<Position>>,
    changed: bool,
}

impl Positions {
    /// As they were saved.
    pub fn new(saved: HashMap<ContainerId, Arc<Position>>) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            all: saved,
            changed: false,
        })))
    }

    /// Where a container was left off; the beginning if it never was.
    pub fn of(&self, container: &ContainerId) -> Position {
        self.lock()
            .all
            .get(container)
            .map(|position| Position::clone(position))
            .unwrap_or_default()
    }

    /// Whether anything was ever taken from a container's log.
    pub fn knows(&self, container: &ContainerId) -> bool {
        self.lock().all.contains_key(container)
    }

    /// Follows a container's reader, after each read that brought lines, of which some wait for the rest of their record.
    pub fn publish(&self, container: &ContainerId, position: &Position, waiting: impl Iterator<Item = Seen>) {
        let mut inner = self.lock();
        inner.changed = true;
        match inner.all.get_mut(container) {
            Some(known) => match Arc::get_mut(known) {
                Some(known) => known.clone_from(position),
                None => *known = Arc::new(position.clone()),
            },
            None => {
                inner.all.insert(container.clone(), Arc::new(position.clone()));
            }
        }
        let mut waiting = waiting.peekable();
        if waiting.peek().is_some()
            && let Some(known) = inner.all.get_mut(container)
        {
            Arc::make_mut(known).unsettled.wait(waiting);
        }
    }

    /// Moves on by a record that a sink already has, though the last checkpoint did not know. `after_hole`: others came
    /// before it that nobody knows any more.
    pub fn recovered(&self, record: &Decoded, after_hole: bool) {
        let mut inner = self.lock();
        inner.changed = true;
        let position = Arc::make_mut(inner.all.entry(record.container.clone()).or_default());
        match record.lines {
            None if after_hole => position.note_after_hole(&record.line()),
            // Behind a record of several lines, of which the position does not know the last, where the policy was replaced.
            None if !position.unsettled.has_written() => position.note(&record.line()),
            _ => position.unsettled.found(record.stream, &record.bytes),
        }
    }

    /// Forgets all containers but those for which `there` says true.
    pub fn retain(&self, mut there: impl FnMut(&ContainerId) -> bool) {
        let mut inner = self.lock();
        let before = inner.all.len();
        inner.all.retain(|id, _| there(id));
        inner.changed |= inner.all.len() != before;
    }

    /// Drops a container's position: its log is gone.
    pub fn forget(&self, container: &ContainerId) {
        let mut inner = self.lock();
        inner.changed |= inner.all.remove(container).is_some();
    }

    /// What was taken could not be saved.
    pub fn touch(&self) {
        self.lock().changed = true;
    }

    /// Whether something moved since the last [`Positions::take`].
    pub fn have_changed(&self) -> bool {
        self.lock().changed
    }

    /// All of them, to be saved.
    pub fn take(&self) -> HashMap<ContainerId, Arc<Position>> {
        let mut inner = self.lock();
        inner.changed = false;
        inner.all.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
