//! The end of a container's log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::info;

use super::{End, Follower};
use crate::record::{Line, Until};
use crate::register::Site;
use crate::source::{Cause, Fault, Log, Progress, Stream};

/// How long the end of a dead container's log may stay away.
const REST: Duration = Duration::from_secs(30);

impl Follower {
    /// The engine has ended the stream.
    pub(super) async fn ended(&mut self, stream: &mut Stream) -> End {
        // At once: the end of the log comes before the event that says why, and of a container that was started with
        // `--rm` the engine removes the log right after it.
        let starts = self.life.borrow().starts;
        let rest = self.read_rest().await;
        if self.captured.witness.is_ignorant() {
            Box::pin(self.learn_of_rotation()).await;
        }
        Box::pin(self.compare()).await;
        if rest.is_ok() {
            self.whole = Some(starts);
        }
        // The event comes a moment after the end.
        let pause = self.services.retry.initial_delay + self.next_pause();
        let over = timeout(pause, self.life.wait_for(|life| life.is_over()));
        let is_over = self.captured.while_waiting(async { over.await.is_ok() }).await;
        if !is_over {
            return End::EndedEarly;
        }
        let captured = &mut self.captured;
        let is_empty = captured.is_empty();
        let mut take = |line: Line<'_>| {
            captured.take_open(&line);
        };
        let finished = match rest {
            Ok(mut rest) => rest.finish(&mut take),
            // Nothing was read, and nothing is there any more.
            Err(Fault::Gone(_)) if is_empty => return End::Gone,
            // Where there is no more to read, what the stream itself still had is the end.
            Err(Fault::Gone(_)) => {
                info!(
                    container = self.container.name,
                    "the container was removed before the end of its log could be read again: a last line without a line feed may be missing"
                );
                stream.finish(&mut take)
            }
            Err(fault) => return self.not_read(fault),
        };
        self.captured.finish();
        match finished {
            Ok(()) => End::Died,
            Err(fault) => self.not_read(fault),
        }
    }

    /// Reads the log of a container whose stream has ended once more, from the last line on. Engine 20.10 often ends a
    /// follow without the last line, where that has no line feed. Such a line is still in what is returned.
    ///
    /// It ends with all that there is, so it also tells for sure whether the last line is still in the log.
    pub(super) async fn read_rest(&mut self) -> Result<Stream, Fault> {
        let services = Arc::clone(&self.services);
        loop {
            let since = self.captured.since(Until::Now);
            let mut rest = services
                .source
                .open(&self.container.id, Site::Follow, since, Until::Now)
                .await?;
            self.captured.begin(since, Until::Now);
            let has_ended = loop {
                self.renew_policy();
                let captured = &mut self.captured;
                let growth = captured.growth();
                let mut take = |line: Line<'_>| {
                    captured.take(&line);
                };
                let read = rest.read(|cx| services.outbox.poll_room_for(cx, growth), &mut take);
                let progress = match timeout(REST, read).await {
                    Ok(progress) => progress,
                    Err(_) if !services.outbox.has_room() => continue,
                    Err(_) if self.captured.asks_for_the_end() => {
                        self.note_endless();
                        break false;
                    }
                    Err(_) => Err(Fault::Broken(Cause::new(
                        format!("reading the end of the log took longer than {REST:?}"),
                        "read_failed",
                    ))),
                };
                self.captured.publish();
                if progress? == Progress::Ended || self.captured.falls_short() {
                    break true;
                }
            };
            if !has_ended {
                continue;
            }
            if !self.captured.came_to_the_end(rest.pending_since()) {
                self.captured.ask_for_the_end();
                return Ok(rest);
            }
            self.captured.ask_for_more();
        }
    }
}
