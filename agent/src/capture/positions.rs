//! Every container's position, as of the last line that was handed to the outbox.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::gone::Gone;
use super::resume::Position;
use super::seen::Seen;
use super::tally::Tally;
use crate::encode::Decoded;
use crate::record::ContainerId;

/// Shared between the followers, who move their own, and whoever saves them all.
#[derive(Clone, Debug, Default)]
pub struct Positions(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    /// Shared with a checkpoint on its way to the disk.
    all: HashMap<ContainerId, Arc<Position>>,
    /// What was read of those that are removed.
    gone: Gone,
    changed: bool,
}

impl Positions {
    /// As they were saved.
    pub fn new(mut saved: HashMap<ContainerId, Arc<Position>>, mut gone: Gone) -> Self {
        for position in saved.values_mut() {
            Arc::make_mut(position).tally.read_again();
        }
        gone.all_mut().for_each(Tally::read_again);
        Self(Arc::new(Mutex::new(Inner {
            all: saved,
            gone,
            changed: false,
        })))
    }

    /// Where the container of this name was left off; the beginning if it never was.
    pub fn of(&self, container: &ContainerId, name: &str) -> Position {
        let inner = self.lock();
        let known = inner.all.get(container);
        let mut position = known.map(|position| Position::clone(position)).unwrap_or_default();
        if known.is_none()
            && let Some((_, tally)) = inner.gone.listed().find(|(id, _)| id == container)
        {
            position.tally = tally.clone();
        }
        if *position.tally.name != *name {
            position.tally.name = name.into();
        }
        position
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
                inner.gone.take(container);
                inner.all.insert(container.clone(), Arc::new(position.clone()));
            }
        }
        let mut waiting = waiting.peekable();
        if waiting.peek().is_some()
            && let Some(known) = inner.all.get_mut(container)
        {
            let known = Arc::make_mut(known);
            let mut held = 0;
            known.unsettled.wait(waiting.inspect(|_| held += 1));
            known.tally.held = held;
        }
    }

    /// Moves on by a record that a sink already has, though the last checkpoint did not know. `after_hole`: others came
    /// before it that nobody knows any more.
    pub fn recovered(&self, record: &Decoded, after_hole: bool) {
        let mut inner = self.lock();
        inner.changed = true;
        let position = Arc::make_mut(inner.all.entry(record.container.clone()).or_default());
        position.tally.taken += u64::from(record.lines.unwrap_or(1));
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
        let Inner { all, gone, .. } = &mut *inner;
        all.retain(|id, position| {
            let is_there = there(id);
            if !is_there {
                gone.put(id, &position.tally);
            }
            is_there
        });
        inner.changed |= inner.all.len() != before;
    }

    /// Drops a container's position: its log is gone. So many lines were read of it.
    pub fn forget(&self, container: &ContainerId, read: &Tally) {
        let mut inner = self.lock();
        inner.all.remove(container);
        inner.gone.put(container, read);
        inner.changed = true;
    }

    /// What was read of each container, and of those that are removed.
    pub fn all(&self) -> (Vec<(ContainerId, Tally)>, Gone) {
        let inner = self.lock();
        let all = inner
            .all
            .iter()
            .map(|(id, position)| (id.clone(), position.tally.clone()));
        (all.collect(), inner.gone.clone())
    }

    /// How many removed containers are told of one by one.
    pub(super) fn gone_len(&self) -> usize {
        self.lock().gone.len()
    }

    /// Tells of the first removed container no more for which `may_go` says true.
    pub(super) fn merge_gone(&self, may_go: impl Fn(&ContainerId) -> bool) -> Option<ContainerId> {
        self.lock().gone.merge(may_go)
    }

    /// What was taken could not be saved.
    pub fn touch(&self) {
        self.lock().changed = true;
    }

    /// Whether something moved since the last [`Positions::take`].
    pub fn have_changed(&self) -> bool {
        self.lock().changed
    }

    /// All of them, to be saved, and what was read of those that are removed.
    pub fn take(&self) -> (HashMap<ContainerId, Arc<Position>>, Gone) {
        let mut inner = self.lock();
        inner.changed = false;
        (inner.all.clone(), inner.gone.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
