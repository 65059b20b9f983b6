//! What has been taken from a container's log: each line that comes is recognised, or noted and handed on.

use std::pin::pin;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::Context;
use super::expressions::Expression;
use super::metrics::Series;
use super::multiline::Multiline;
use super::options::Treatment;
use super::rate::RateLimit;
use super::recent::Recent;
use super::resume::{Position, Replay, Verdict};
use crate::encode::Tail;
use crate::record::{Container, ContainerId, Line, Since, Time};
use crate::source::Mark;

/// What has been taken from the log, and where it goes.
pub struct Captured {
    context: Arc<Context>,
    id: ContainerId,
    /// What the sinks had before is older.
    began: Time,
    /// Where several lines can be one record.
    multiline: Option<Multiline>,
    rate_limit: Option<RateLimit>,
    /// See [`Treatment`].
    _refused: Option<Arc<Expression>>,
    pub position: Position,
    pub tail: Tail,
    pub series: Series,
    pub replay: Option<Replay>,
    pub recent: Recent,
    /// Lines before this time are not wanted, as long as none was taken.
    floor: Option<Time>,
    /// Lines come from the log's files, which repeat nothing by themselves.
    from_files: bool,
    /// Only the end of the log was asked for, or will be: it costs the engine little.
    pub tail_only: bool,
    /// The end of the log did not reach back to the last line: what comes now is not taken.
    pub falls_short: bool,
    /// Lines of the present read, for the pace, and those of them that were new.
    pub lines: u64,
    pub new: u64,
}

impl Captured {
    /// Goes on where the container was left off.
    pub fn new(context: &Arc<Context>, container: &Arc<Container>) -> Self {
        let Treatment {
            multiline,
            rate_limit,
            refused,
        } = context.options.treatment(container);
        Self {
            id: container.id.clone(),
            began: Time::now(),
            multiline,
            rate_limit,
            _refused: refused,
            tail: Tail::new(container, &context.host, &context.fields),
            series: Series::new(&container.name, &context.metrics),
            position: context.positions.of(&container.id),
            replay: None,
            recent: Recent::default(),
            from_files: false,
            floor: context.start,
            tail_only: true,
            falls_short: false,
            lines: 0,
            new: 0,
            context: Arc::clone(context),
        }
    }

    /// What to ask the engine for.
    pub fn since(&self) -> Since {
        if let Some(floor) = self.floor() {
            return Since::Time(floor);
        }
        self.position.since(self.tail_only)
    }

    /// A connection that was opened with [`Captured::since`] is read from now on. Gives what the one before still had to
    /// repeat.
    pub fn begin(&mut self) -> Option<Replay> {
        self.recent.clear();
        std::mem::replace(&mut self.replay, self.position.replay(self.tail_only))
    }

    /// The log's files are read from now on; not from their beginning where only the `end` of them is read.
    pub fn begin_files(&mut self, end: bool) {
        self.from_files = true;
        self.tail_only = end;
        self.replay = self.position.replay_files();
    }

    /// Nothing is read for now: gives back what only reading needs.
    pub fn rest(&mut self) {
        self.recent.clear();
        self.replay = None;
        self.tail_only |= std::mem::take(&mut self.from_files);
    }

    pub fn show_lag(&self) {
        if let Some(latest) = self.position.last() {
            self.series.lags(latest);
        }
    }

    /// Whether the present connection has brought what the last one had.
    pub fn has_caught_up(&self) -> bool {
        self.replay.as_ref().is_none_or(Replay::has_caught_up)
    }

    /// The time before which nothing is wanted of a log of which no line was ever taken.
    pub fn floor(&self) -> Option<Time> {
        self.floor.filter(|_| self.position.is_empty())
    }

    /// A line has come: it is recognised, or noted and handed on.
    pub fn take(&mut self, line: &Line<'_>) {
        self.lines += 1;
        if self.floor.is_some_and(|floor| line.time < floor) && self.position.is_empty() {
            return;
        }
        if self.falls_short {
            return;
        }
        match self.place(line) {
            Place::Known => {}
            Place::Waited => self.hand_on(line),
            Place::New => {
                self.position.note(line);
                self.hand_on(line);
            }
        }
    }

    /// A line has come that never got its line feed: the container has ended.
    pub fn take_open(&mut self, line: &Line<'_>) {
        if self.floor.is_some_and(|floor| line.time < floor) && self.position.is_empty() {
            return;
        }
        if !self.falls_short && self.place(line) == Place::New {
            self.position.note_open(line);
            self.hand_on(line);
        }
    }

    fn place(&mut self, line: &Line<'_>) -> Place {
        let deduplicated = &self.context.metrics.deduplicated;
        let Some(replay) = &mut self.replay else {
            let repeats = !self.from_files && self.recent.repeats(line);
            deduplicated.inc_by(repeats.into());
            return if repeats { Place::Known } else { Place::New };
        };
        let place = match replay.judge(line) {
            Verdict::Seen if self.position.unsettled.is_waiting(line) => Place::Waited,
            Verdict::Seen => {
                deduplicated.inc();
                Place::Known
            }
            Verdict::NewAfterGap if self.tail_only => {
                self.falls_short = true;
                return Place::Known;
            }
            Verdict::NewAfterGap => {
                self.position.unsettled.give_up_waiting();
                self.lines_are_missing();
                Place::New
            }
            Verdict::New => Place::New,
        };
        self.replay.take_if(|replay| replay.is_over());
        if self.has_caught_up() && self.position.unsettled.give_up_waiting() {
            self.lines_are_missing();
        }
        place
    }

    fn lines_are_missing(&self) {
        warn!(
            container = self.series.name(),
            "the last lines were not found again: lines may be missing"
        );
        self.series.gap();
    }

    /// A place in the log's files was passed before which nothing is wanted, if no line waits for the rest of its record.
    pub fn passed(&mut self, mark: Mark) {
        let waits = self.multiline.iter().flat_map(Multiline::waiting).next().is_some();
        if !waits && !self.position.unsettled.has_waiting() && self.has_caught_up() {
            self.position.set_mark(mark);
        }
    }

    fn hand_on(&mut self, line: &Line<'_>) {
        if !self.position.unsettled.is_empty() {
            if line.time > self.began {
                self.position.unsettled.give_up_written();
            }
            if self.position.unsettled.is_written(line) {
                self.context.metrics.deduplicated.inc();
                return;
            }
        }
        self.new += 1;
        self.series.captured(line.stream, line.bytes.len());
        if line.truncated {
            self.context.metrics.truncated.inc();
        }
        if self.rate_limit.as_mut().is_some_and(|limit| !limit.admits(line.time)) {
            self.series.rate_limited();
            return;
        }
        match &mut self.multiline {
            None => self.context.outbox.push(line, &self.tail),
            Some(multiline) => {
                let mut out = deliver(&self.context, &self.tail, &self.series);
                multiline.push(line, &mut out);
            }
        }
    }

    /// Lets the position be saved. Before anything is awaited: what is handed over and what is published always belong
    /// together.
    pub fn publish(&self) {
        let waiting = self.multiline.iter().flat_map(Multiline::waiting);
        self.context.positions.publish(&self.id, &self.position, waiting);
    }

    /// When [`Captured::flush_due`] has something to do, if nothing comes before.
    pub fn deadline(&self) -> Option<Instant> {
        self.multiline.as_ref()?.deadline()
    }

    /// Ends the records that nothing was added to for a while.
    pub fn flush_due(&mut self) {
        let Some(multiline) = &mut self.multiline else {
            return;
        };
        let mut out = deliver(&self.context, &self.tail, &self.series);
        multiline.flush_due(Instant::now(), &mut out);
        self.publish();
    }

    /// Ends all records: nothing more comes. To be published with what is noted.
    pub fn flush(&mut self) {
        if let Some(multiline) = &mut self.multiline {
            let mut out = deliver(&self.context, &self.tail, &self.series);
            multiline.flush(&mut out);
        }
    }

    /// Waits for something else than lines, and ends each record when it is due.
    pub async fn while_waiting<T>(&mut self, something: impl Future<Output = T>) -> T {
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
pub async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Where records of several lines go.
fn deliver<'a>(context: &'a Context, tail: &'a Tail, series: &'a Series) -> impl FnMut(&Line<'_>, u32) + 'a {
    |line, lines| {
        context.outbox.push_merged(line, lines, tail);
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
}

#[cfg(test)]
mod tests;
