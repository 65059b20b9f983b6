//! What is told of containers that are removed: by name for a while, and together from then on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::record::ContainerId;

/// Containers that are removed, those first that were removed first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Gone {
    listed: VecDeque<(ContainerId, Tally)>,
    /// All that are not listed.
    others: Tally,
}

impl Gone {
    /// Each one that is listed.
    pub fn listed(&self) -> impl Iterator<Item = &(ContainerId, Tally)> {
        self.listed.iter()
    }

    /// All others, together.
    pub fn others(&self) -> &Tally {
        &self.others
    }

    /// Nothing is told of one of which nothing was ever taken.
    pub(super) fn put(&mut self, container: &ContainerId, tally: &Tally) {
        if tally.taken + tally.known + tally.gaps > 0 {
            self.take(container);
            self.listed.push_back((container.clone(), tally.clone()));
        }
    }

    /// It is not gone.
    pub(super) fn take(&mut self, container: &ContainerId) -> Option<Tally> {
        let at = self.listed.iter().position(|(id, _)| id == container)?;
        self.listed.remove(at).map(|(_, tally)| tally)
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    /// Tells of the first one no more for which `may_go` says true.
    pub(super) fn merge(&mut self, may_go: impl Fn(&ContainerId) -> bool) -> Option<ContainerId> {
        let at = self.listed.iter().position(|(id, _)| may_go(id))?;
        let (id, tally) = self.listed.remove(at)?;
        self.others.add(&tally);
        Some(id)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Tally> {
        self.listed.iter_mut().map(|(_, tally)| tally)
    }
}
