//! What has become of each container's lines at one sink. Pure.
//!
//! It is counted where the window is told, once a batch, so it can be held against the window, the spool and what was read.
//! What is saved of it is as of the batch up to which the positions are.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::batch::Records;
use crate::record::ContainerId;

/// How many lines of each container.
pub(super) type Named = HashMap<ContainerId, u64>;

/// What can become of a record at a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The sink has acknowledged it.
    Delivered,
    /// It is lost to the sink.
    Dropped,
    /// It is kept as a dead letter.
    Dead,
}

/// Lines of one container at one sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// The sink has acknowledged them.
    #[serde(skip_serializing_if = "is_none")]
    pub delivered: u64,
    /// They are lost to the sink.
    #[serde(skip_serializing_if = "is_none")]
    pub dropped: u64,
    /// They were kept as dead letters.
    #[serde(skip_serializing_if = "is_none")]
    pub dead: u64,
    /// They were read before the sink was there.
    #[serde(skip_serializing_if = "is_none")]
    pub before: u64,
    /// They are in its spool. Less than nothing: so many have left the spool that were not read again since the agent was killed.
    #[serde(skip_serializing_if = "is_nothing")]
    pub spooled: i64,
    /// They wait in its window. None does where a checkpoint is.
    #[serde(skip)]
    pub waiting: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_nothing(count: &i64) -> bool {
    *count == 0
}

impl Counts {
    /// All lines that are told of here.
    pub fn sum(&self) -> i64 {
        let settled = self.delivered + self.dropped + self.dead + self.before;
        settled.cast_signed() + self.spooled + self.waiting
    }

    fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.dropped += other.dropped;
        self.dead += other.dead;
        self.before += other.before;
        self.spooled += other.spooled;
        self.waiting += other.waiting;
    }

    fn count(&mut self, lines: u64, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += lines,
            Outcome::Dropped => self.dropped += lines,
            Outcome::Dead => self.dead += lines,
        }
    }
}

/// The account of one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Account {
    of: HashMap<ContainerId, Counts>,
    /// What became of the lines of containers that nobody knows any more.
    others: Counts,
    /// What is settled of the batch that is being delivered. It is delivered once more where it is not acknowledged.
    #[serde(skip)]
    carried: HashMap<ContainerId, Counts>,
    /// Lines can have left the spool that this account does not know of: the agent was killed.
    #[serde(skip)]
    inherits: bool,
    /// Records of the spool were lost, and nobody knows whose they were.
    #[serde(skip)]
    has_lost: bool,
}

impl Account {
    /// As it was saved.
    pub(super) fn restored(saved: Self) -> Self {
        let inherits = saved
            .of
            .values()
            .chain([&saved.others])
            .any(|counts| counts.spooled > 0);
        Self { inherits, ..saved }
    }

    /// What a checkpoint saves: what was settled of a batch that is not acknowledged comes again.
    pub(super) fn to_save(&self) -> Self {
        Self {
            of: self.of.clone(),
            others: self.others,
            ..Self::default()
        }
    }

    /// A sink begins where so many lines of the container were read before it was there.
    pub fn begin(&mut self, container: &ContainerId, before: u64) {
        self.entry(container).before += before;
    }

    /// The same of containers that are not told of one by one.
    pub fn begin_others(&mut self, before: u64) {
        self.others.before += before;
    }

    /// The sink has so many lines more, by what it wrote before the agent was killed.
    pub fn recovered(&mut self, container: &ContainerId, lines: u64) {
        self.entry(container).delivered += lines;
    }

    fn entry(&mut self, container: &ContainerId) -> &mut Counts {
        // A key is made only for a container that is new.
        if !self.of.contains_key(container) {
            self.of.insert(container.clone(), Counts::default());
        }
        self.known(container)
    }

    fn known(&mut self, container: &ContainerId) -> &mut Counts {
        self.of.get_mut(container).unwrap_or(&mut self.others)
    }

    /// The spool has lines of another run.
    pub(super) fn inherit(&mut self) {
        self.inherits = true;
    }

    /// The sink was given these records.
    pub(super) fn give(&mut self, records: &Records) {
        records.lines_of(0..records.len(), |id, lines| {
            self.entry(id).waiting += lines.cast_signed();
        });
    }

    /// This has become of these records of the batch that is being delivered.
    pub(super) fn settle(&mut self, records: &Records, numbers: impl IntoIterator<Item = usize>, outcome: Outcome) {
        records.lines_of(numbers, |id, lines| {
            if !self.carried.contains_key(id) {
                self.carried.insert(id.clone(), Counts::default());
            }
            if let Some(carried) = self.carried.get_mut(id) {
                carried.count(lines, outcome);
            }
        });
    }

    /// The batch that was delivered is acknowledged. It waited in the spool, or in the window.
    pub(super) fn acknowledge(&mut self, was_spooled: bool) {
        // Its room is used again.
        let mut carried = std::mem::take(&mut self.carried);
        for (id, counts) in carried.drain() {
            // What was spooled by another run can be of a container that this one has not read of yet.
            let known = if self.inherits {
                self.entry(&id)
            } else {
                self.known(&id)
            };
            known.add(counts);
            let settled = counts.sum();
            *(if was_spooled {
                &mut known.spooled
            } else {
                &mut known.waiting
            }) -= settled;
        }
        self.carried = carried;
    }

    /// Another batch is being delivered. What was settled of the one before, and not acknowledged, comes again.
    pub(super) fn lend(&mut self) {
        self.carried.clear();
    }

    /// This batch has gone from the window to the spool.
    pub(super) fn spill(&mut self, records: &Records) {
        records.lines_of(0..records.len(), |id, lines| {
            let known = self.known(id);
            known.waiting -= lines.cast_signed();
            known.spooled += lines.cast_signed();
        });
    }

    /// This batch is dropped from the window.
    pub(super) fn refuse(&mut self, records: &Records) {
        records.lines_of(0..records.len(), |id, lines| {
            let known = self.known(id);
            known.waiting -= lines.cast_signed();
            known.dropped += lines;
        });
    }

    /// Only the `new` records of this batch are to be delivered. The spool has got the others before.
    pub(super) fn skip(&mut self, batch: &Records, new: &Records) {
        self.spill(batch);
        new.lines_of(0..new.len(), |id, lines| {
            let known = self.known(id);
            known.spooled -= lines.cast_signed();
            known.waiting += lines.cast_signed();
        });
        self.inherits = true;
    }

    /// These lines of the spool are dropped, with what was settled of the batch that was lent.
    pub(super) fn drop_spooled(&mut self, named: &Named) {
        let mut carried = std::mem::take(&mut self.carried);
        for (id, &lines) in named {
            let mut settled = carried.remove(id).unwrap_or_default();
            // What was settled of a batch of which the end stays comes again.
            settled.delivered -= settled
                .delivered
                .min(settled.sum().cast_unsigned().saturating_sub(lines));
            let known = self.known(id);
            known.add(settled);
            known.dropped += lines.saturating_sub(settled.sum().cast_unsigned());
            known.spooled -= lines.cast_signed();
        }
    }

    /// Records of the spool are lost, and it cannot be told whose they were.
    pub(super) fn lose(&mut self) {
        self.has_lost = true;
    }

    /// Nothing is in the spool. What was there by this account has left it unseen: it was lost, or it was delivered after
    /// the account was saved and before the agent was killed.
    pub(super) fn is_drained(&mut self) {
        let (inherits, has_lost) = (std::mem::take(&mut self.inherits), std::mem::take(&mut self.has_lost));
        if !inherits && !has_lost {
            return;
        }
        let outcome = if has_lost { Outcome::Dropped } else { Outcome::Delivered };
        for counts in self.of.values_mut().chain([&mut self.others]) {
            let left = counts.spooled.max(0);
            counts.spooled -= left;
            counts.count(left.cast_unsigned(), outcome);
        }
    }

    /// A container is not told of by itself any more.
    pub(super) fn merge(&mut self, container: &ContainerId) {
        if let Some(counts) = self.of.remove(container) {
            self.others.add(counts);
        }
    }

    /// Whether lines of a container are neither delivered nor dropped nor dead.
    pub(super) fn has_open(&self, container: &ContainerId) -> bool {
        let counts = self.of.get(container);
        counts.is_some_and(|counts| counts.waiting != 0 || counts.spooled != 0)
    }

    /// How it stands, with what is settled of the batch that is being delivered, which was spooled or not.
    pub(super) fn now(&self, is_spooled: bool) -> Self {
        let mut now = self.clone();
        now.acknowledge(is_spooled);
        now
    }

    /// Lines that wait in the window.
    pub(super) fn waiting(&self) -> i64 {
        self.of
            .values()
            .chain([&self.others])
            .map(|counts| counts.waiting)
            .sum()
    }

    /// Those that are settled of the batch that is being delivered.
    pub(super) fn ahead(&self) -> i64 {
        self.carried.values().map(Counts::sum).sum()
    }

    /// What it says of a container.
    pub fn of(&self, container: &ContainerId) -> Counts {
        self.of.get(container).copied().unwrap_or_default()
    }

    /// What it says of all containers that it does not tell of one by one.
    pub fn others(&self) -> Counts {
        self.others
    }

    /// The containers that it tells of.
    pub fn containers(&self) -> impl Iterator<Item = &ContainerId> {
        self.of.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Written, records};
    use super::*;

    fn id(name: &str) -> ContainerId {
        ContainerId::new(&format!("id-of-{name}"))
    }

    fn some() -> Records {
        records(&[Written("web", 1, "a"), Written("web", 2, "b"), Written("db", 3, "c")])
    }

    /// Delivered, dropped, dead, spooled, waiting.
    fn told(account: &Account, name: &str) -> (u64, u64, u64, i64, i64) {
        let counts = account.of(&id(name));
        let Counts {
            delivered,
            dropped,
            dead,
            spooled,
            waiting,
            ..
        } = counts;
        (delivered, dropped, dead, spooled, waiting)
    }

    #[test]
    fn each_line_is_in_one_place_at_any_time() {
        let (mut account, batch) = (Account::default(), some());
        account.give(&batch);
        account.give(&batch);
        assert_eq!(
            (told(&account, "web"), told(&account, "db")),
            ((0, 0, 0, 0, 4), (0, 0, 0, 0, 2))
        );
        account.settle(&batch, [0], Outcome::Delivered);
        account.settle(&batch, [1], Outcome::Dead);
        assert_eq!(told(&account.now(false), "web"), (1, 0, 1, 0, 2));
        assert_eq!(
            told(&account.to_save(), "web"),
            (0, 0, 0, 0, 4),
            "it is not acknowledged"
        );
        account.settle(&batch, [2], Outcome::Dropped);
        account.acknowledge(false);
        assert_eq!(
            (told(&account, "web"), told(&account, "db")),
            ((1, 0, 1, 0, 2), (0, 1, 0, 0, 1))
        );
        account.spill(&batch);
        assert_eq!((told(&account, "web"), account.waiting()), ((1, 0, 1, 2, 0), 0));
        account.lend();
        account.settle(&batch, 0..3, Outcome::Delivered);
        account.acknowledge(true);
        account.is_drained();
        assert_eq!(
            (told(&account, "web"), told(&account, "db")),
            ((3, 0, 1, 0, 0), (1, 1, 0, 0, 0))
        );
        assert_eq!(account.of(&id("web")).sum(), 4);
    }

    #[test]
    fn what_is_dropped_from_the_spool_is_told_by_container_and_what_was_settled_of_it_counts_once() {
        let (mut account, batch) = (Account::default(), some());
        account.give(&batch);
        account.spill(&batch);
        account.lend();
        account.settle(&batch, [0], Outcome::Delivered);
        account.drop_spooled(&HashMap::from([(id("web"), 2), (id("db"), 1)]));
        assert_eq!(
            (told(&account, "web"), told(&account, "db")),
            ((1, 1, 0, 0, 0), (0, 1, 0, 0, 0))
        );
        account.acknowledge(true);
        assert_eq!(account.of(&id("web")).sum(), 2);
    }

    #[test]
    fn lines_that_vanish_from_the_spool_are_taken_for_nothing_unless_the_agent_was_killed_or_they_are_lost() {
        let (mut account, batch) = (Account::default(), some());
        account.give(&batch);
        account.spill(&batch);
        account.is_drained();
        assert_eq!(told(&account, "web").3, 2, "a difference shows");
        let saved = serde_json::to_value(account.to_save()).unwrap();
        let restored = || Account::restored(serde_json::from_value(saved.clone()).unwrap());
        let (mut killed, mut damaged) = (restored(), restored());
        killed.is_drained();
        assert_eq!(told(&killed, "web"), (2, 0, 0, 0, 0));
        damaged.lose();
        damaged.is_drained();
        assert_eq!(told(&damaged, "web"), (0, 2, 0, 0, 0));
    }

    #[test]
    fn what_the_spool_had_before_the_kill_is_counted_once_when_it_is_read_again() {
        let (mut account, batch) = (Account::default(), some());
        // Delivered before its log is read again.
        account.inherit();
        account.lend();
        account.settle(&batch, 0..3, Outcome::Delivered);
        account.acknowledge(true);
        assert_eq!(told(&account, "web"), (2, 0, 0, -2, 0));
        account.give(&batch);
        account.skip(&batch, &records(&[]));
        assert_eq!(
            (told(&account, "web"), told(&account, "db")),
            ((2, 0, 0, 0, 0), (1, 0, 0, 0, 0))
        );
    }

    #[test]
    fn a_container_that_is_merged_counts_with_the_others_from_then_on() {
        let (mut account, batch) = (Account::default(), some());
        account.give(&batch);
        assert!(account.has_open(&id("web")));
        account.merge(&id("web"));
        account.settle(&batch, 0..3, Outcome::Delivered);
        account.acknowledge(false);
        assert_eq!((account.others().delivered, account.others().waiting), (2, 0));
        assert!(!account.has_open(&id("web")) && told(&account, "db") == (1, 0, 0, 0, 0));
    }
}
