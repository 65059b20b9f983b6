//! What one sink was given, and what it has done with it. Pure.
//!
//! ```text
//!    acknowledged            taken           given
//!  ───────┬────────────────────┬───────────────┬────────►  batches, by number
//!    done │  the sink has them │ they wait     │ to come
//!         └────────────────────┴───────────────┘
//!                 at most `limit` of them
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::account::{Account, Named, Outcome};
use super::batch::{Batch, Records};
use super::sink::Mark;
use crate::record::Time;

/// Tells one question for a mark from the next.
pub type Ticket = u64;

/// What a sink is to do next.
#[derive(Debug)]
pub enum Order {
    /// Deliver it, and acknowledge it.
    Batch(Arc<Batch>),
    /// Tell how far it has got. Everything that was given before is acknowledged, and nothing that was given later has been
    /// taken.
    Mark(Ticket),
    /// Open anew what it writes to.
    Reopen,
}

/// What there is for a sink.
#[derive(Debug)]
pub(super) enum Next {
    Order(Order),
    /// Nothing, for now.
    Nothing,
    /// Nothing more will come.
    End,
}

#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    given: u64,
    acknowledged: u64,
    waiting: VecDeque<Arc<Batch>>,
    /// All that is not acknowledged.
    held: VecDeque<Held>,
    /// Records that the sink has delivered or dropped, in all.
    settled: u64,
    /// And how many of these are of batches that it has not acknowledged.
    ahead: usize,
    /// What waits for the sink on the disk.
    spooled: Spooled,
    /// Records that waited there when the agent began.
    inherited: u64,
    account: Account,
    /// As it was when the sink was asked for its mark.
    to_save: Option<Account>,
    /// When a batch was last given or acknowledged.
    moved: Instant,
    mark: Question,
    reopen: bool,
    /// The outbox is closed.
    closed: bool,
    /// The sink has gone, and acknowledges nothing any more.
    left: bool,
}

/// What is known of a batch that the sink may have taken.
#[derive(Debug)]
struct Held {
    number: u64,
    records: usize,
    /// How many lines these are made of.
    lines: u64,
    /// The time of its first record.
    first: Option<Time>,
    given: Instant,
}

/// What is known of a sink's spool.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spooled {
    /// Records that the sink has not acknowledged.
    pub(super) records: u64,
    /// The first batch of them is being delivered, and so many of its records are settled.
    lent: Option<u64>,
    /// How many records were ever spooled.
    pub(super) end: u64,
    /// Records of which the sink was lent nothing.
    pub(super) unread: u64,
    /// What they take of the disk.
    pub(super) bytes: u64,
    /// The time of the first.
    pub(super) oldest: Option<Time>,
}

impl Spooled {
    /// Records that are neither delivered nor dropped.
    pub(super) fn waiting(&self) -> u64 {
        self.records - self.lent.unwrap_or_default().min(self.records)
    }
}

/// Somebody wants to know how far the sink has got.
#[derive(Debug, Default)]
enum Question {
    #[default]
    None,
    /// As of the batch of this number.
    Asked {
        ticket: Ticket,
        at: u64,
    },
    /// The sink has been told, and has not answered yet.
    Passed {
        ticket: Ticket,
        at: u64,
    },
    Answered(Ticket, Option<Mark>),
}

impl Window {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            given: 0,
            acknowledged: 0,
            waiting: VecDeque::with_capacity(limit),
            settled: 0,
            ahead: 0,
            spooled: Spooled::default(),
            inherited: 0,
            account: Account::default(),
            to_save: None,
            moved: Instant::now(),
            held: VecDeque::with_capacity(limit),
            mark: Question::None,
            reopen: false,
            closed: false,
            left: false,
        }
    }

    /// How many more batches may be given. A sink that has gone holds up nobody.
    pub(super) fn free(&self) -> usize {
        let held = if self.left { 0 } else { self.given - self.acknowledged };
        self.limit.saturating_sub(held as usize)
    }

    pub(super) fn has_room(&self) -> bool {
        self.free() > 0
    }

    /// Whether everything that was given is acknowledged.
    pub(super) fn is_idle(&self) -> bool {
        self.left || self.given == self.acknowledged
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn give(&mut self, batch: &Arc<Batch>) {
        if !self.left {
            self.given = batch.number();
            self.moved = Instant::now();
            self.waiting.push_back(Arc::clone(batch));
            self.account.give(batch.records());
            self.held.push_back(Held {
                number: batch.number(),
                records: batch.records().len(),
                lines: batch.records().lines(),
                first: batch.records().first_time(),
                given: self.moved,
            });
        }
    }

    pub(super) fn next(&mut self) -> Next {
        if std::mem::take(&mut self.reopen) {
            return Next::Order(Order::Reopen);
        }
        if let Question::Asked { ticket, at } = self.mark
            && self.waiting.front().is_none_or(|next| next.number() > at)
        {
            if self.acknowledged < at {
                return Next::Nothing;
            }
            return Next::Order(self.pass(ticket, at));
        }
        match self.waiting.pop_front() {
            Some(batch) => Next::Order(Order::Batch(batch)),
            None if self.closed => Next::End,
            None => Next::Nothing,
        }
    }

    /// What is to be done beside batches, and can be done now.
    pub(super) fn question(&mut self) -> Option<Order> {
        if std::mem::take(&mut self.reopen) {
            return Some(Order::Reopen);
        }
        match self.mark {
            Question::Asked { ticket, at } if self.acknowledged >= at => Some(self.pass(ticket, at)),
            _ => None,
        }
    }

    /// All that was given before the question is acknowledged, and nothing that was given later has been begun.
    fn pass(&mut self, ticket: Ticket, at: u64) -> Order {
        self.to_save = Some(self.account.to_save());
        self.mark = Question::Passed { ticket, at };
        Order::Mark(ticket)
    }

    /// The batches that the sink was not given yet, up to a question: somebody else takes care of them.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Arc<Batch>> {
        let behind = match self.mark {
            Question::Asked { at, .. } | Question::Passed { at, .. } => {
                self.waiting.partition_point(|batch| batch.number() <= at)
            }
            _ => self.waiting.len(),
        };
        let rest = self.waiting.split_off(behind);
        std::mem::replace(&mut self.waiting, rest)
    }

    /// Only the `new` records of the batch are to be delivered: the sink had the others before.
    pub(super) fn skip(&mut self, batch: &Batch, new: &Records) {
        let records = batch.records().len() - new.len();
        self.settled += records as u64;
        if let Some(held) = self.held.iter_mut().find(|held| held.number == batch.number()) {
            held.records -= records;
            held.lines = new.lines();
        }
        self.account.skip(batch.records(), new);
        self.look_at_spool();
    }

    /// What the account says is in the spool is held against the spool when that is empty.
    fn look_at_spool(&mut self) {
        if self.spooled.records == 0 {
            self.account.is_drained();
        }
    }

    /// When the sink will have fallen behind, if nothing moves: its oldest batch is so old, or the window is full and has not
    /// moved for so long.
    pub(super) fn behind_at(&self, age: Duration, stall: Duration) -> Option<Instant> {
        let old = self.held.front()?.given + age;
        let stalled = (!self.has_room()).then_some(self.moved + stall);
        Some(stalled.map_or(old, |stalled| stalled.min(old)))
    }

    /// Nothing more will be given, and all that was is acknowledged.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.is_idle()
    }

    /// The batch of this number has gone to the spool, with so many records. `is_lent`: it is being delivered.
    pub(super) fn spill(&mut self, number: u64, records: usize, is_lent: bool) {
        if is_lent {
            self.spooled.lent = Some(self.ahead as u64);
        }
        self.spooled.records += records as u64;
        self.acknowledge(number);
    }

    /// The batch of this number is dropped, and nobody was given it.
    pub(super) fn refuse(&mut self, number: u64, records: usize) {
        self.settled += records as u64;
        self.acknowledge(number);
    }

    /// So many records were in the spool when it was opened. `has_lost`: there were more.
    pub(super) fn inherit(&mut self, records: u64, has_lost: bool) {
        self.spooled.records += records;
        self.inherited += records;
        self.account.inherit();
        if has_lost {
            self.account.lose();
        }
        self.look_at_spool();
    }

    /// The first batch of the spool is being delivered.
    pub(super) fn lend(&mut self) {
        self.spooled.lent = Some(0);
        self.account.lend();
    }

    /// What was lent, so many records, is settled.
    pub(super) fn leave_spool(&mut self, records: u64) {
        self.spooled.lent = None;
        self.spooled.records = self.spooled.records.saturating_sub(records);
        self.account.acknowledge(true);
        self.look_at_spool();
    }

    /// The first records of the spool are dropped, with what was lent of them. Gives how many of them were not settled.
    /// `named` tells how many lines of each container these are; `None` if nobody knows.
    pub(super) fn drop_spooled(&mut self, records: u64, named: Option<&Named>) -> u64 {
        match named {
            Some(named) => self.account.drop_spooled(named),
            None => self.account.lose(),
        }
        let left = records.saturating_sub(self.spooled.lent.take().unwrap_or_default());
        self.spooled.records = self.spooled.records.saturating_sub(records);
        self.settled += left;
        self.look_at_spool();
        left
    }

    pub(super) fn show_spool(&mut self, end: u64, unread: u64, bytes: u64, oldest: Option<Time>) {
        self.spooled.end = end;
        self.spooled.unread = unread;
        self.spooled.bytes = bytes;
        self.spooled.oldest = oldest;
    }

    pub(super) fn spooled(&self) -> Spooled {
        self.spooled
    }

    /// Records that the sink had to deliver beside those that it was given.
    pub(super) fn inherited(&self) -> u64 {
        self.inherited
    }

    /// The sink has delivered everything up to the batch of this number, and was given that last.
    pub(super) fn deliver(&mut self, number: u64) {
        self.account.acknowledge(false);
        self.acknowledge(number);
    }

    /// Everything up to the batch of this number is safe.
    fn acknowledge(&mut self, number: u64) {
        self.moved = Instant::now();
        self.acknowledged = self.acknowledged.max(number);
        while self.held.front().is_some_and(|held| held.number <= number) {
            self.held.pop_front();
            self.ahead = 0;
        }
    }

    /// This has become of so many records of the batch that comes to be acknowledged next, of which `numbers` are the numbers.
    pub(super) fn settle(&mut self, batch: &Records, numbers: impl IntoIterator<Item = usize>, outcome: Outcome) {
        let mut records = 0;
        self.account
            .settle(batch, numbers.into_iter().inspect(|_| records += 1), outcome);
        self.settled += records as u64;
        match &mut self.spooled.lent {
            Some(settled) => *settled += records as u64,
            None => self.ahead += records,
        }
    }

    /// How many records were delivered or dropped.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// How many records are neither delivered nor dropped, and the time of the first that is not acknowledged.
    pub(super) fn held(&self) -> (usize, Option<Time>) {
        let records: usize = self.held.iter().map(|held| held.records).sum();
        (
            records.saturating_sub(self.ahead),
            self.held.front().and_then(|held| held.first),
        )
    }

    /// Asks how far the sink has got once all that was given is acknowledged. An earlier question is not answered any more.
    pub(super) fn ask(&mut self, ticket: Ticket) {
        self.mark = Question::Asked { ticket, at: self.given };
    }

    pub(super) fn answer(&mut self, ticket: Ticket, mark: Option<Mark>) {
        if matches!(self.mark, Question::Passed { ticket: passed, .. } if passed == ticket) {
            self.mark = Question::Answered(ticket, mark);
        }
    }

    /// Whether the question of this ticket is answered, or never will be.
    pub(super) fn is_settled(&self, ticket: Ticket) -> bool {
        self.left || matches!(self.mark, Question::Answered(answered, _) if answered == ticket)
    }

    /// What a checkpoint saves of the account, beside the mark.
    pub(super) fn take_to_save(&mut self) -> Account {
        self.to_save.take().unwrap_or_default()
    }

    /// The account as it was saved.
    pub(super) fn restore(&mut self, saved: Account) {
        self.account = Account::restored(saved);
    }

    pub(super) fn account(&mut self) -> &mut Account {
        &mut self.account
    }

    /// The account as it is now, and whether it says of what waits what the window says.
    pub(super) fn account_now(&self) -> (Account, bool) {
        let is_spooled = self.spooled.lent.is_some();
        let now = self.account.now(is_spooled);
        let held: u64 = self.held.iter().map(|held| held.lines).sum();
        let ahead = if is_spooled { 0 } else { self.account.ahead() };
        let is_right = self.left || now.waiting() == held.cast_signed() - ahead;
        (now, is_right)
    }

    pub(super) fn take_mark(&mut self) -> Option<Mark> {
        match std::mem::take(&mut self.mark) {
            Question::Answered(_, mark) => mark,
            other => {
                self.mark = other;
                None
            }
        }
    }

    pub(super) fn reopen(&mut self) {
        self.reopen = true;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// The sink has gone. Gives what it had not taken yet, to be dropped without a lock.
    pub(super) fn leave(&mut self) -> VecDeque<Arc<Batch>> {
        self.left = true;
        self.held.clear();
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Records, Spares};
    use super::*;

    fn batch(number: u64) -> Arc<Batch> {
        Arc::new(Batch::new(number, Records::default(), &Spares::new(0)))
    }

    /// The number of the batch that comes next.
    fn taken(window: &mut Window) -> Option<u64> {
        match window.next() {
            Next::Order(Order::Batch(batch)) => Some(batch.number()),
            Next::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    fn asked(window: &mut Window) -> Ticket {
        match window.next() {
            Next::Order(Order::Mark(ticket)) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_acknowledged_takes_room_whether_it_was_taken_or_not() {
        let mut window = Window::new(2);
        assert!(window.has_room() && window.is_idle());
        window.give(&batch(1));
        assert!(window.has_room() && !window.is_idle());
        window.give(&batch(2));
        assert!(!window.has_room());
        assert_eq!(taken(&mut window), Some(1));
        assert_eq!(taken(&mut window), Some(2));
        assert!(!window.has_room());
        window.deliver(1);
        assert!(window.has_room() && !window.is_idle());
        window.deliver(2);
        assert!(window.is_idle());
        assert_eq!(taken(&mut window), None);
    }

    #[test]
    fn a_mark_is_asked_for_between_what_was_given_before_and_after_the_question() {
        let mut window = Window::new(8);
        window.give(&batch(1));
        window.give(&batch(2));
        window.ask(7);
        window.give(&batch(3));
        assert_eq!(taken(&mut window), Some(1));
        assert_eq!(taken(&mut window), Some(2));
        // Taken and not acknowledged: neither the mark nor the next batch.
        assert_eq!(taken(&mut window), None);
        window.deliver(1);
        assert_eq!(taken(&mut window), None);
        window.deliver(2);
        assert_eq!(asked(&mut window), 7);
        assert_eq!(taken(&mut window), Some(3));
        assert!(!window.is_settled(7));
        window.answer(7, None);
        assert!(window.is_settled(7) && !window.is_settled(8));
    }

    #[test]
    fn the_answer_to_an_earlier_question_is_not_taken_for_the_later_ones() {
        let mut window = Window::new(8);
        window.ask(1);
        assert_eq!(asked(&mut window), 1);
        window.give(&batch(1));
        window.ask(2);
        window.answer(1, Some(Mark::default()));
        assert!(!window.is_settled(1) && !window.is_settled(2));
        assert_eq!(taken(&mut window), Some(1));
        window.deliver(1);
        assert_eq!(asked(&mut window), 2);
        window.answer(2, Some(Mark::default()));
        assert!(window.is_settled(2) && window.take_mark().is_some());
    }

    #[test]
    fn reopening_comes_first_and_the_end_last() {
        let mut window = Window::new(8);
        window.give(&batch(1));
        window.ask(1);
        window.close();
        window.reopen();
        window.reopen();
        assert!(matches!(window.next(), Next::Order(Order::Reopen)));
        assert_eq!(taken(&mut window), Some(1));
        window.deliver(1);
        assert_eq!(asked(&mut window), 1);
        assert!(matches!(window.next(), Next::End));
    }

    #[test]
    fn a_sink_that_has_gone_holds_up_nobody() {
        let mut window = Window::new(1);
        window.give(&batch(1));
        window.ask(1);
        assert_eq!(window.leave().len(), 1);
        assert!(window.has_room() && window.is_idle() && window.is_settled(1) && window.has_left());
        window.give(&batch(2));
        assert!(window.leave().is_empty());
    }
}
