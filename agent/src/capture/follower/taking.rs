//! What a stream brings is taken, noted and published, whatever it is that the stream reads from.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::super::captured::Taken;
use super::Follower;
use crate::record::{Line, Time};
use crate::source::{Fault, Log, Progress};

/// Bytes that a stream may take before others have their turn. What a busy container writes during one rest of the thread
/// is less (`pace`): giving way costs another look at all sockets.
const TURN_BYTES: usize = 16 * 1024;

/// How long a stream has to bring the last known line, before all of the log is searched for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the streams of a stretch of reading have brought.
#[derive(Debug, Default)]
pub(super) struct SoFar {
    pub reads: u64,
    /// The present stream has brought something new.
    pub any_new: bool,
    /// The engine was asked how it rotates the log.
    pub asked_for_rotation: bool,
    /// Another policy is in force. So far, only the lines go by it.
    pub other_policy: bool,
    /// Until when the present stream may repeat without the last known line.
    pub patience: Option<Instant>,
    /// It was longer, so the stream falls short when it has no more for now.
    is_impatient: bool,
}

impl SoFar {
    /// A stream is opened that has something to repeat.
    pub(super) fn begins(&mut self) {
        self.patience = Some(Instant::now() + PATIENCE);
        self.is_impatient = false;
    }

    /// That time is over.
    pub(super) fn lose_patience(&mut self) {
        self.patience = None;
        self.is_impatient = true;
    }
}

/// What one read has brought.
#[derive(Debug, Default)]
struct Brought {
    lines: u64,
    new: u64,
}

impl Brought {
    fn count(&mut self, taken: Taken) {
        self.lines += 1;
        self.new += u64::from(taken == Taken::New);
    }
}

impl Follower {
    /// Takes what there is to read, and waits for more: a line costs one turn of the task. Ready when there is something to
    /// see to: the stream has ended, others are to have their turn, another policy is in force, the log is in doubt, or a
    /// record of several lines is due at another time than `deadline`. Where it does not read `alone`, each read is one.
    pub(super) fn poll_read<L: Log>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut L,
        so_far: &mut SoFar,
        deadline: Option<Instant>,
        alone: bool,
    ) -> Poll<Result<Progress, Fault>> {
        let mut left = TURN_BYTES;
        loop {
            so_far.other_policy |= self.renew_policy();
            let (captured, outbox) = (&mut self.captured, &self.services.outbox);
            let growth = captured.growth();
            let mut brought = Brought::default();
            let mut take = |line: Line<'_>| brought.count(captured.take(&line));
            let Poll::Ready(progress) = stream.poll_read(cx, |cx| outbox.poll_room_for(cx, growth), &mut take) else {
                return self.has_no_more(stream.pending_since(), so_far);
            };
            self.note(stream, progress.as_ref().ok(), &brought, so_far);
            match progress {
                Ok(Progress::Read(bytes)) if alone && bytes < left && !self.captured.falls_short() => left -= bytes,
                _ => return Poll::Ready(progress),
            }
            let in_doubt = L::HOLDS_UP && self.is_in_doubt(so_far);
            if in_doubt || so_far.other_policy || self.captured.deadline() != deadline {
                return Poll::Ready(progress);
            }
        }
    }

    /// Whether the log is to be looked at: how the engine rotates it is not known yet, or it may do so unseen.
    fn is_in_doubt(&self, so_far: &SoFar) -> bool {
        let witness = &self.captured.witness;
        self.should_learn(so_far) || witness.is_pressing() || witness.bursts()
    }

    /// Whether the engine is to be asked how it rotates the log. Once in a stretch: it may fail to answer.
    pub(super) fn should_learn(&self, so_far: &SoFar) -> bool {
        self.captured.witness.is_ignorant() && !so_far.asked_for_rotation
    }

    /// There is nothing to read for now. Ready when the stream should have brought the last known line by now.
    fn has_no_more(&mut self, begun: Option<Time>, so_far: &mut SoFar) -> Poll<Result<Progress, Fault>> {
        let is_due = so_far.is_impatient && self.services.outbox.has_room();
        if is_due && std::mem::take(&mut so_far.is_impatient) && self.captured.came_to_the_end(begun) {
            return Poll::Ready(Ok(Progress::Read(0)));
        }
        Poll::Pending
    }

    /// What a read brought is published, before anything is awaited.
    fn note<L: Log>(&mut self, stream: &L, progress: Option<&Progress>, brought: &Brought, so_far: &mut SoFar) {
        if self.captured.falls_short() {
            // A line that nobody could place can be behind new ones.
            if brought.new > 0 {
                self.captured.publish();
            }
            return;
        }
        if let Some(mark) = stream.mark() {
            self.captured.passed(mark);
        }
        self.captured.settle(brought.new, stream.pending_since());
        let Some(&Progress::Read(bytes)) = progress else {
            return;
        };
        so_far.reads += 1;
        if L::HOLDS_UP {
            self.services.pace.read(brought.lines, bytes);
        } else {
            self.services.pace.read(brought.lines.min(1), 0);
        }
        if brought.new > 0 {
            self.captured.show_lag();
            if !std::mem::replace(&mut so_far.any_new, true) {
                self.captured.ask_for_the_end();
                self.backoff = self.services.backoff();
                self.in_vain = 0;
            }
        }
        if self.life.has_changed().unwrap_or(false) {
            self.rename();
        }
    }
}
