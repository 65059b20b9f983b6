//! A log whose files the engine rotates. Whoever follows it may lose his place: see `witness`.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::{End, Follower};
use crate::capture::seen::Seen;
use crate::capture::witness::{Comparison, Outcome, Stretch};
use crate::record::{Line, Since, Time, Until};
use crate::register::Site;
use crate::source::{Fault, Log as _, Progress};

/// Between two reads of a log that is written too fast to be followed.
const BETWEEN: Duration = Duration::from_millis(100);
/// How long the engine may take to tell how it rotates a log, or to send what is compared with it.
const ANSWER: Duration = Duration::from_secs(5);

impl Follower {
    /// Asks the engine how it rotates the log, once. Where it does not answer, somebody asks again.
    pub(super) async fn learn_of_rotation(&mut self) {
        let asked = timeout(ANSWER, self.services.engine.inspect(&self.container.id)).await;
        match asked {
            Ok(Ok(inspected)) => self.captured.witness.learn(inspected.max_size),
            Ok(Err(error)) => debug!(container = self.container.name, %error, "not known how its log is rotated"),
            Err(_) => debug!(container = self.container.name, "not known how its log is rotated"),
        }
    }

    /// Reads the log without following it, again and again, until it is written more slowly. Each read goes on behind the
    /// last line; where that is not in the log any more, a gap is counted. Gives what ended that before.
    pub(super) async fn read_by_turns(&mut self) -> Option<End> {
        let services = std::sync::Arc::clone(&self.services);
        let mut turn = std::pin::pin!(services.slots.turn());
        loop {
            self.room().await;
            self.captured.ask_far();
            let before = self.captured.witness.total();
            match Box::pin(self.read_rest()).await {
                // It went on behind the last line, and such a request skips nothing: there is nothing to compare.
                Ok(_) => self.captured.witness.compared(),
                Err(fault @ Fault::Broken(_)) => return Some(self.not_read(fault)),
                Err(fault) => return Some(self.not_opened(fault)),
            }
            let brought = self.captured.witness.total() - before;
            let is_calm = self.captured.witness.calm(brought);
            if is_calm || self.life.borrow().is_over() {
                return None;
            }
            tokio::select! {
                () = &mut turn => return Some(End::GaveUpSlot),
                () = self.captured.while_waiting(sleep(BETWEEN)) => {}
            }
        }
    }

    /// Compares what the streams have brought with the log. What is not there, or was not brought, is a gap.
    pub(super) async fn compare(&mut self) {
        let Some(stretch) = self.captured.witness.suspect() else {
            return;
        };
        let records = Since::Tail {
            records: stretch.records(),
            or_since: Time(0),
        };
        let mut outcome = Outcome::NotFound;
        let of_the_end = (!self.captured.is_endless()).then_some(records);
        for since in of_the_end.into_iter().chain([Since::Beginning]) {
            outcome = match timeout(ANSWER, self.compare_with(stretch, since)).await {
                Ok(Ok(outcome)) => outcome,
                // Nothing can be said of it. The next comparison has it again, if the log is there by then.
                Ok(Err(fault)) => {
                    debug!(container = self.container.name, %fault, "not compared with its log");
                    return;
                }
                Err(_) => {
                    debug!(container = self.container.name, "not compared with its log in time");
                    return;
                }
            };
            if outcome != Outcome::NotFound {
                break;
            }
        }
        if outcome != Outcome::Same {
            warn!(
                container = self.container.name,
                lines = stretch.lines,
                "the engine rotated its log faster than it could be followed: lines may be missing"
            );
            self.captured.note_gap();
            self.captured.publish();
        }
        self.captured.witness.compared();
    }

    async fn compare_with(&self, stretch: Stretch, since: Since) -> Result<Outcome, Fault> {
        let source = &self.services.source;
        let mut log = source.open(&self.container.id, Site::Follow, since, Until::Now).await?;
        let mut comparison = Comparison::new(stretch);
        if stretch.behind.is_none() && since != Since::Beginning {
            return Ok(Outcome::NotFound);
        }
        loop {
            let room = |_: &mut Context<'_>| Poll::Ready(usize::MAX);
            let mut take = |line: Line<'_>| comparison.take(Seen::of(&line));
            match log.read(room, &mut take).await? {
                Progress::Read(_) => tokio::task::yield_now().await,
                Progress::Ended => return Ok(comparison.outcome()),
            }
        }
    }
}
