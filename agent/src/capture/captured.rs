//! What has been taken from a container's log: each line that comes is recognised, or noted and handed on.

use std::sync::Arc;

use tracing::warn;

use super::Context;
use super::metrics::Series;
use super::resume::{Position, Recent, Replay, Verdict};
use crate::delivery::Tail;
use crate::engine::Since;
use crate::record::{Container, Line};

/// What has been taken from the log, and where it goes.
pub struct Captured {
    context: Arc<Context>,
    pub position: Position,
    pub tail: Tail,
    pub series: Series,
    pub replay: Option<Replay>,
    pub recent: Recent,
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
    pub fn new(context: &Arc<Context>, container: &Container) -> Self {
        Self {
            tail: Tail::new(container, &context.host),
            series: Series::new(&container.name, &context.metrics),
            position: context.positions.of(&container.id),
            replay: None,
            recent: Recent::default(),
            tail_only: true,
            falls_short: false,
            lines: 0,
            new: 0,
            context: Arc::clone(context),
        }
    }

    /// What to ask the engine for.
    pub fn since(&self) -> Since {
        self.position.since(self.tail_only)
    }

    /// A connection that was opened with [`Captured::since`] is read from now on.
    pub fn begin(&mut self) {
        self.recent.clear();
        self.replay = self.position.replay(self.tail_only);
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

    /// A line has come: it is recognised, or noted and handed on.
    pub fn take(&mut self, line: &Line<'_>) {
        self.lines += 1;
        if self.falls_short {
            return;
        }
        if !self.is_new(line) {
            return;
        }
        self.position.note(line);
        self.hand_on(line);
    }

    /// A line has come that never got its line feed: the container has ended.
    pub fn take_open(&mut self, line: &Line<'_>) {
        if !self.falls_short && self.is_new(line) {
            self.position.note_open(line);
            self.hand_on(line);
        }
    }

    /// Whether a line was not taken before.
    fn is_new(&mut self, line: &Line<'_>) -> bool {
        let Some(replay) = &mut self.replay else {
            let repeats = self.recent.repeats(line);
            self.context.metrics.deduplicated.inc_by(repeats.into());
            return !repeats;
        };
        match replay.judge(line) {
            Verdict::Seen => {
                self.context.metrics.deduplicated.inc();
                return false;
            }
            Verdict::NewAfterGap if self.tail_only => {
                self.falls_short = true;
                return false;
            }
            Verdict::NewAfterGap => {
                warn!(
                    container = self.series.name(),
                    "the last lines were not found again: lines may be missing"
                );
                self.series.gap();
            }
            Verdict::New => {}
        }
        if replay.is_over() {
            self.replay = None;
        }
        true
    }

    fn hand_on(&mut self, line: &Line<'_>) {
        self.new += 1;
        self.series.captured(line.stream, line.bytes.len());
        if line.truncated {
            self.context.metrics.truncated.inc();
        }
        self.context.outbox.push(line, &self.tail);
    }
}
