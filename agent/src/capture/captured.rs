//! What has been taken from a container's log: each line that comes is recognised, or noted and handed on.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::expressions::Expression;
use super::loops::{Loop, Part};
use super::metrics::Series;
use super::multiline::Multiline;
use super::options::Treatment;
use super::policy::Policy;
use super::rate::RateLimit;
use super::reach::Reach;
use super::recent::{Recall, Recent};
use super::resume::{Position, Replay, Verdict};
use super::seen::Seen;
use super::services::Services;
use super::tidying::tidy;
use super::witness::Witness;
use crate::encode::Tail;
use crate::record::{Container, ContainerId, Line, Since, Time, Until};
use crate::source::Mark;

/// What has been taken from the log, and where it goes.
pub(super) struct Captured {
    services: Arc<Services>,
    id: ContainerId,
    /// What the sinks had before is older.
    began: Time,
    /// Where several lines can be one record.
    multiline: Option<Multiline>,
    rate_limit: Option<RateLimit>,
    /// See [`Treatment`].
    _refused: Option<Arc<Expression>>,
    /// Lines before this time are not wanted, as long as none was taken.
    floor: Option<Time>,
    /// Lines come from the log's files, which repeat nothing by themselves.
    from_files: bool,
    position: Position,
    tail: Tail,
    series: Series,
    /// What the present stream still has to repeat, and what came lately.
    replay: Option<Replay>,
    recent: Recent,
    pub(super) witness: Witness,
    /// What the next stream is asked for.
    reach: Reach,
    /// The present stream brings all that there is.
    is_complete: bool,
    /// It ends with what there was when it was opened: it repeats nothing by itself.
    ends_now: bool,
    /// The engine goes by the time where a log is followed.
    goes_by_time: bool,
    /// A stream that goes by the time may hide lines: the clock may have been set back since the last one.
    is_unsure: bool,
    /// The last line is not in the log any more, but so many of those remembered before it.
    evidence: Option<u32>,
    /// The engine does not find the end of the log.
    is_endless: bool,
    falls_short: bool,
    loops: Loop,
    /// It does, because it brought a line that nobody could place.
    doubts: bool,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was taken before.
    Known,
    /// It is noted and handed on.
    New,
    /// It is left for the next stream: this one begins behind the last line that was taken.
    Left,
}

/// What is known of a stream that another one has replaced.
#[derive(Debug)]
pub(super) struct Before {
    replay: Option<Replay>,
    is_complete: bool,
    ends_now: bool,
}

impl Before {
    /// Whether it had brought the last line that was taken.
    pub(super) fn has_caught_up(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::has_caught_up)
    }
}

impl Captured {
    /// Goes on where the container was left off.
    pub(super) fn new(services: &Arc<Services>, policy: &Policy, container: &Arc<Container>) -> Self {
        let Treatment {
            multiline,
            rate_limit,
            refused,
        } = policy.options.treatment(container);
        Self {
            id: container.id.clone(),
            began: Time::now(),
            multiline,
            rate_limit,
            _refused: refused,
            tail: Tail::new(container, services.host.unless(&policy.host), &policy.fields),
            series: Series::new(&container.name, &services.metrics),
            position: services.positions.of(&container.id, &container.name),
            replay: None,
            recent: Recent::default(),
            witness: Witness::default(),
            from_files: false,
            floor: policy.start,
            reach: Reach::END,
            is_complete: false,
            ends_now: false,
            goes_by_time: false,
            is_unsure: true,
            evidence: None,
            is_endless: false,
            falls_short: false,
            loops: Loop::default(),
            doubts: false,
            services: Arc::clone(services),
        }
    }

    /// The container has a new name, or other labels.
    pub(super) fn describe(&mut self, policy: &Policy, container: &Arc<Container>) {
        self.tail = Tail::new(container, self.services.host.unless(&policy.host), &policy.fields);
        if container.name != self.series.name() {
            self.series = Series::new(&container.name, &self.services.metrics);
            self.position.tally.name = container.name.as_str().into();
        }
    }

    /// Lines may be missing here.
    pub(super) fn note_gap(&mut self) {
        self.series.gap();
        self.position.tally.note_gap();
    }

    /// A line came that was taken before.
    fn note_known(&mut self) {
        self.services.metrics.deduplicated.inc();
        self.position.tally.known += 1;
    }

    /// Another policy is in force, from the next line on. Records that are under way go on where they would be the same
    /// ones, and are handed on where not.
    pub(super) fn obey(&mut self, policy: &Policy, container: &Arc<Container>) {
        let Treatment {
            mut multiline,
            mut rate_limit,
            refused,
        } = policy.options.treatment(container);
        match (&mut multiline, &mut self.multiline) {
            (Some(new), Some(old)) if new.is_like(old) => new.go_on_from(old),
            _ => {
                self.flush();
                self.publish();
            }
        }
        if let (Some(new), Some(old)) = (&mut rate_limit, &self.rate_limit) {
            new.go_on_from(old);
        }
        self.multiline = multiline;
        self.rate_limit = rate_limit;
        self._refused = refused;
        self.describe(policy, container);
    }

    pub(super) fn series(&self) -> &Series {
        &self.series
    }

    /// What to ask the engine for.
    pub(super) fn since(&self, until: Until) -> Since {
        if let Some(floor) = self.floor() {
            return Since::Time(floor);
        }
        let by_time = self.is_endless || self.goes_by_time && until == Until::Death;
        match self.position.since(self.reach, Time::now()) {
            Since::Tail { or_since, .. } if by_time => Since::Time(or_since),
            since => since,
        }
    }

    /// A stream that was opened with `since` is read from now on. Gives what is needed to go back to the one before.
    pub(super) fn begin(&mut self, since: Since, until: Until) -> Before {
        self.falls_short = false;
        let ends_now = until == Until::Now;
        self.doubts &= !ends_now;
        self.witness.begins(Time::now(), self.position.last_seen());
        if self.floor().is_some() {
            self.witness.breaks_off();
        }
        self.recent
            .recall_all(self.position.remembered(), self.position.forgotten());
        let is_limited = self.reach.is_all() && self.reach.is_limited();
        let is_complete = is_limited || since == Since::Beginning;
        let replay = match self.evidence.filter(|_| is_complete) {
            Some(evidence) => self.position.replay_of_rest(evidence),
            None => self.position.replay(since),
        };
        Before {
            replay: std::mem::replace(&mut self.replay, replay),
            is_complete: std::mem::replace(&mut self.is_complete, is_complete),
            ends_now: std::mem::replace(&mut self.ends_now, ends_now),
        }
    }

    /// The stream before is read again. The present one has brought nothing new.
    pub(super) fn roll_back(&mut self, before: Before) {
        let Before {
            replay,
            is_complete,
            ends_now,
        } = before;
        self.replay = replay;
        self.is_complete = is_complete;
        self.ends_now = ends_now;
        self.falls_short = false;
    }

    /// The log's files are read from now on, from their beginning or from a mark.
    pub(super) fn begin_files(&mut self, from_beginning: bool) {
        self.from_files = true;
        self.reach = if from_beginning { Reach::ALL } else { Reach::END };
        let since = if from_beginning {
            Since::Beginning
        } else {
            // A mark has the last lines behind it, with whatever number of others.
            Since::Tail {
                records: u32::MAX,
                or_since: Time(0),
            }
        };
        self.begin(since, Until::Death);
    }

    /// Nothing is read for now: gives back what only reading needs.
    pub(super) fn rest(&mut self) {
        self.recent = Recent::default();
        self.replay = None;
        self.falls_short = false;
        if std::mem::take(&mut self.from_files) && self.evidence.is_none() {
            self.reach = Reach::END;
        }
    }

    pub(super) fn show_lag(&self) {
        if let Some(latest) = self.position.last() {
            self.series.lags(latest);
        }
    }

    /// Nothing can come for now: shows how far the container falls behind, if it writes.
    pub(super) fn show_waiting(&self) {
        self.series.waits();
    }

    /// Whether no line was ever taken.
    pub(super) fn is_empty(&self) -> bool {
        self.position.is_empty()
    }

    /// Whether one of the last lines, or one that has begun, is of this time.
    pub(super) fn knows(&self, time: Time) -> bool {
        self.position.knows(time)
    }

    /// Whether the present stream has brought the last line that was taken.
    pub(super) fn has_caught_up(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::has_caught_up)
    }

    /// The time before which nothing is wanted of a log of which no line was ever taken.
    pub(super) fn floor(&self) -> Option<Time> {
        self.floor.filter(|_| self.position.is_empty())
    }

    /// A place in the log's files from which reading can go on; none where the end of the log did not suffice.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.position.mark().filter(|_| self.reach.is_of_the_end())
    }

    /// How many bytes of records a byte of the log becomes at most.
    pub(super) fn growth(&self) -> usize {
        self.tail.growth()
    }

    /// Whether a new line has come over the present stream, or any line that comes is new.
    pub(super) fn is_live(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::is_live)
    }

    /// Whether the present stream begins behind the last line. Nothing that it brings is taken.
    pub(super) fn falls_short(&self) -> bool {
        self.falls_short
    }

    /// The present stream has brought all that it had to. Tells whether the last line was not in it, and the next stream is
    /// to be asked for more. A line that has `begun` at this time is still held by the stream.
    pub(super) fn came_to_the_end(&mut self, begun: Option<Time>) -> bool {
        if let (Some(replay), Some(begun)) = (&mut self.replay, begun) {
            replay.ends_with_begun(begun);
        }
        let behind = self.replay.as_ref().is_some_and(Replay::is_behind_evidence);
        if let Some(replay) = self.replay.take_if(|replay| behind && !replay.has_caught_up()) {
            // Nothing more will tell of it.
            self.position.lose(&replay);
            self.floor = self.floor.filter(|_| !self.position.is_empty());
            self.evidence = None;
            self.lines_are_missing();
        }
        self.falls_short |= !self.has_caught_up();
        self.is_unsure &= self.falls_short || self.position.is_ahead_of(Time::now());
        self.falls_short
    }

    /// The clock may have been set back, or a stream is silent though there are lines.
    pub(super) fn be_unsure(&mut self) {
        self.is_unsure = true;
    }

    /// The engine goes by the time where a log is followed, or it does not.
    pub(super) fn set_goes_by_time(&mut self, goes_by_time: bool) {
        self.goes_by_time = goes_by_time;
    }

    /// Whether the log's own order is to be read before a stream that goes on can be believed.
    pub(super) fn must_be_read_first(&self) -> bool {
        let may_hide = self.goes_by_time && self.is_unsure && !self.position.is_empty();
        may_hide || self.doubts || !self.asks_for_the_end()
    }

    /// The present stream falls short: the next one is asked for more, or not to look for the last line any more.
    pub(super) fn ask_for_more(&mut self) {
        if self.doubts {
            return;
        }
        let matched = self.replay.as_ref().map_or(0, Replay::matched);
        self.evidence = (self.is_complete && self.evidence.is_none()).then_some(matched);
        self.reach = if self.evidence.is_some() {
            self.reach.all()
        } else {
            self.reach.farther()
        };
    }

    /// The next stream is asked for the end of the log only.
    pub(super) fn ask_for_the_end(&mut self) {
        self.reach = self.reach.the_end();
        self.evidence = None;
    }

    /// The next stream is asked for many records: so many are likely to have come.
    pub(super) fn ask_far(&mut self) {
        self.reach = self.reach.far();
    }

    /// The engine cannot decode a record before so many of the last ones: no more is asked for, and the gap shows by itself.
    pub(super) fn ask_for_no_more_than(&mut self, records: u32) {
        self.reach = Reach::all_of(records);
        self.evidence = None;
    }

    /// How many records the engine was asked for last.
    pub(super) fn records(&self) -> Option<u32> {
        self.reach.records()
    }

    pub(super) fn asks_for_the_end(&self) -> bool {
        self.reach.is_of_the_end() && !self.is_endless
    }

    pub(super) fn is_endless(&self) -> bool {
        self.is_endless
    }

    /// The engine does not find the end of the log, so that no stream is to begin there. Tells whether that is news.
    pub(super) fn note_endless(&mut self) -> bool {
        !std::mem::replace(&mut self.is_endless, true)
    }

    /// A line has come: it is recognised, or noted and handed on.
    pub(super) fn take(&mut self, line: &Line<'_>) -> Taken {
        if self.is_too_old(line) {
            return Taken::Known;
        }
        let seen = Seen::of(line);
        match self.place(line, seen) {
            Place::Known => Taken::Known,
            Place::Waited => self.hand_on(line),
            Place::New => {
                self.position.note_seen(seen);
                if !self.from_files {
                    self.witness.note(seen, line.bytes.len());
                }
                self.hand_on(line)
            }
            Place::TooFar => Taken::Left,
        }
    }

    /// A line has come that never got its line feed: the container has ended.
    pub(super) fn take_open(&mut self, line: &Line<'_>) -> Taken {
        if self.is_too_old(line) {
            return Taken::Known;
        }
        match self.place(line, Seen::of(line)) {
            Place::Known | Place::Waited => Taken::Known,
            Place::New => {
                self.position.note_open(line);
                self.hand_on(line)
            }
            Place::TooFar => Taken::Left,
        }
    }

    fn place(&mut self, line: &Line<'_>, seen: Seen) -> Place {
        if self.falls_short {
            return Place::TooFar;
        }
        let Some(replay) = &mut self.replay else {
            return self.unless_repeated(seen);
        };
        let place = match replay.judge_seen(seen) {
            Verdict::Seen if self.position.unsettled.is_waiting(line) => Place::Waited,
            Verdict::Seen => {
                self.services.metrics.deduplicated.inc();
                self.position.tally.known += 1;
                if replay.is_live() {
                    // It stands between new ones, and is none.
                    self.witness.breaks_off();
                }
                Place::Known
            }
            // What was passed over may be new as well: all is read again.
            Verdict::NewAfterGap if !self.is_complete || replay.has_passed_over() => {
                self.falls_short = true;
                return Place::TooFar;
            }
            Verdict::NewAfterGap => {
                if replay.matched() == 0 {
                    self.position.all_are_gone();
                    self.floor = None;
                }
                self.evidence = None;
                self.position.unsettled.give_up_waiting();
                self.lines_are_missing();
                self.unless_repeated(seen)
            }
            Verdict::New => self.unless_repeated(seen),
        };
        self.replay.take_if(|replay| replay.is_over());
        if self.has_caught_up() && self.position.unsettled.give_up_waiting() {
            self.lines_are_missing();
        }
        place
    }

    /// A line that is new, unless the engine repeats it by itself.
    fn unless_repeated(&mut self, seen: Seen) -> Place {
        if self.from_files {
            return Place::New;
        }
        if self.ends_now {
            // Behind the last line all is new, in whatever order its times are.
            self.recent.note_seen(seen);
            return Place::New;
        }
        match self.recent.judge_seen(seen) {
            Recall::New => Place::New,
            Recall::Repeat => {
                self.note_known();
                Place::Known
            }
            Recall::Doubtful => {
                self.falls_short = true;
                self.doubts = true;
                Place::TooFar
            }
        }
    }

    fn lines_are_missing(&mut self) {
        warn!(
            container = self.series.name(),
            "the last lines were not found again: lines may be missing"
        );
        self.note_gap();
        // What is behind the gap is behind no line that the log still has.
        self.witness.compared();
        self.witness.breaks_off();
    }

    fn is_too_old(&self, line: &Line<'_>) -> bool {
        self.floor.is_some_and(|floor| line.time < floor) && self.position.is_empty()
    }

    /// A place in the log's files was passed before which nothing is wanted, if no line waits for the rest of its record.
    pub(super) fn passed(&mut self, mark: Mark) {
        let waits = self.multiline.iter().flat_map(Multiline::waiting).next().is_some();
        if !waits && !self.position.unsettled.has_waiting() && self.has_caught_up() {
            self.position.set_mark(mark);
        }
    }

    fn hand_on(&mut self, line: &Line<'_>) -> Taken {
        if !self.position.unsettled.is_empty() {
            if line.time > self.began {
                self.position.unsettled.give_up_written();
            }
            if self.position.unsettled.is_written(line) {
                self.note_known();
                return Taken::Known;
            }
        }
        self.position.tally.taken += 1;
        self.series.captured(line.stream, line.bytes.len());
        if self.is_of_loop(line) {
            self.position.tally.dropped += 1;
            return Taken::New;
        }
        if line.truncated {
            self.services.metrics.truncated.inc();
        }
        if self.rate_limit.as_mut().is_some_and(|limit| !limit.admits(line.time)) {
            self.series.rate_limited();
            self.position.tally.dropped += 1;
            return Taken::New;
        }
        match &mut self.multiline {
            None => self.services.outbox.push(line, &self.tail),
            Some(multiline) => {
                let mut out = deliver(&self.services, &self.tail, &self.series);
                multiline.push(line, &mut out);
            }
        }
        Taken::New
    }

    /// Whether a line is left out because the container writes out what is captured of it.
    fn is_of_loop(&mut self, line: &Line<'_>) -> bool {
        let part = self.loops.judge(line.bytes, &self.id);
        if part == Part::None {
            return false;
        }
        if part == Part::First {
            warn!(
                container = self.series.name(),
                id = self.id.as_str(),
                "this container writes out what is captured of it: records of its own lines are left out and counted; exclude it"
            );
        }
        self.services.metrics.looped.inc();
        true
    }

    /// A read has brought so many new lines, and a line has `begun` since this time: published where that is news.
    pub(super) fn settle(&mut self, new: u64, begun: Option<Time>) {
        if self.falls_short {
            return;
        }
        let is_news = self.has_caught_up() && self.position.set_begun(begun);
        self.reach = self.reach.grown(new);
        if is_news || new > 0 {
            self.publish();
        }
    }

    /// Lets the position be saved. Before anything is awaited: what is handed over and what is published always belong
    /// together.
    pub(super) fn publish(&self) {
        let waiting = self.multiline.iter().flat_map(Multiline::waiting);
        self.services.positions.publish(&self.id, &self.position, waiting);
    }

    /// When [`Captured::flush_due`] has something to do, if nothing comes before.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.multiline.as_ref()?.deadline()
    }

    /// Ends the records that nothing was added to for a while.
    pub(super) fn flush_due(&mut self) {
        let Some(multiline) = &mut self.multiline else {
            return;
        };
        let mut out = deliver(&self.services, &self.tail, &self.series);
        multiline.flush_due(Instant::now(), &mut out);
        self.publish();
    }

    /// The container has ended, and its log was read to the end.
    pub(super) fn finish(&mut self) {
        self.position.set_begun(None);
        self.flush();
        self.publish();
    }

    /// Nothing more comes, and nobody will ask from where: the container is gone.
    pub(super) fn forget(&mut self) {
        self.flush();
        self.services.positions.forget(&self.id, &self.position.tally);
        tidy(&self.services.positions, &self.services.outbox);
    }

    /// Ends all records.
    fn flush(&mut self) {
        if let Some(multiline) = &mut self.multiline {
            let mut out = deliver(&self.services, &self.tail, &self.series);
            multiline.flush(&mut out);
        }
    }

    /// Waits for something else than lines, and ends each record when it is due.
    pub(super) async fn while_waiting<T>(&mut self, something: impl Future<Output = T>) -> T {
        let mut something = pin!(something);
        loop {
            tokio::select! {
                it = &mut something => return it,
                () = until(self.deadline()) => self.flush_due(),
            }
        }
    }
}

/// Waits for ever where there is no deadline.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Where records of several lines go.
fn deliver<'a>(services: &'a Services, tail: &'a Tail, series: &'a Series) -> impl FnMut(&Line<'_>, u32) + 'a {
    |line, lines| {
        services.outbox.push_merged(line, lines, tail);
        series.merged(lines - 1);
    }
}

impl Drop for Captured {
    /// The agent is stopped: what was read is delivered.
    fn drop(&mut self) {
        if self.deadline().is_some() {
            self.flush();
            self.publish();
        }
    }
}

/// What a line is to what was taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It was taken.
    Known,
    /// It was read before, and no sink has it.
    Waited,
    New,
    /// It is behind lines that this stream does not have.
    TooFar,
}

#[cfg(test)]
mod tests;
