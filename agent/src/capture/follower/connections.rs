//! The connections of a rotation: the second one on its way, and the old one that is kept.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use super::super::captured::Before;
use super::Follower;
use super::rotation::Event;
use crate::record::{Since, Until};
use crate::register::{Inode, Site};
use crate::source::{Fault, Stream};

/// A second connection on its way.
pub(super) type Opening = Pin<Box<dyn Future<Output = Result<New, Fault>> + Send>>;

/// A second connection, and what it was asked for.
pub(super) struct New {
    stream: Stream,
    since: Since,
    spare: OwnedSemaphorePermit,
}

/// The connection that was replaced, kept until the new one has caught up.
pub(super) struct Old {
    stream: Stream,
    before: Before,
    _spare: OwnedSemaphorePermit,
}

/// Waits for ever where none is on its way.
pub(super) async fn opened(opening: &mut Option<Opening>) -> Result<New, Fault> {
    let Some(future) = opening else {
        return pending().await;
    };
    let result = future.await;
    *opening = None;
    result
}

impl Follower {
    /// Starts to open the connection that will take over.
    pub(super) fn open_another(&self) -> Opening {
        let services = Arc::clone(&self.services);
        let id = self.container.id.clone();
        let since = self.captured.since(Until::Death);
        Box::pin(async move {
            let spare = services.slots.spare().await;
            let stream = services.source.open(&id, Site::Rotation, since, Until::Death).await?;
            Ok(New { stream, since, spare })
        })
    }

    /// The new connection is read from now on instead of `stream`.
    pub(super) fn take_over(&mut self, stream: &mut Stream, new: New) -> Event<Old> {
        let New {
            stream: new,
            since,
            spare,
        } = new;
        let before = self.captured.begin(since, Until::Death);
        Event::Opened {
            old_has_caught_up: before.has_caught_up(),
            old: Old {
                stream: std::mem::replace(stream, new),
                before,
                _spare: spare,
            },
        }
    }

    /// The old connection goes on.
    pub(super) fn not_rotated(&self, fault: &Fault) -> Event<Old> {
        self.count("open_failed");
        debug!(container = self.container.name, %fault, "cannot rotate yet");
        Event::NotOpened
    }

    /// The old connection is read again, and the new one is closed.
    pub(super) fn take_back(&mut self, stream: &mut Stream, old: Old) {
        debug!(container = self.container.name, "rotation taken back");
        self.captured.roll_back(old.before);
        *stream = old.stream;
    }

    /// Closes the old connection, and asks the kernel whether it is gone.
    pub(super) fn retire(&self, old: Old) {
        let age = old.stream.opened().elapsed();
        let inode: Inode = old.stream.inode();
        drop(old);
        let released = (self.services.is_released)(inode);
        if released == Some(false) {
            warn!(
                container = self.container.name,
                inode, "the kernel still holds a rotated connection"
            );
        }
        self.captured.series().rotated(released);
        self.services.metrics.stream_age.observe(age.as_secs_f64());
    }
}
