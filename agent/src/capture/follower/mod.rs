//! One container, from its first line to its removal.
//!
//! ```text
//!            start event, or listed as running
//!                        │
//!            ┌───────────▼──────────┐   no slot free
//!   ┌───────►│ waits for a slot     │◄───────────┐
//!   │        └───────────┬──────────┘            │
//!   │ start  ┌───────────▼──────────┐  cut, or   │ after a growing
//!   │        │ reads (and rotates)  ├────────────┘ pause
//!   │        └───────────┬──────────┘  ended while it runs
//!   │                    │ ended, and the container has died
//!   │        ┌───────────▼──────────┐
//!   └────────┤ rests; keeps its     │ destroy event, or 404
//!            │ position             ├─────────────────────► gone
//!            └──────────────────────┘
//! ```

mod broken;
mod connections;
mod ending;
mod files;
mod reading;
mod rotating;
mod rotation;
mod taking;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::captured::Captured;
use super::policy::InForce;
use super::slots::Slot;
use super::{ContainerState, Services};
use crate::engine::Delays;
use crate::record::Container;
use crate::source::Fault;

/// How often the lag of a container that waits for a slot is shown anew.
const LAG_SHOWN: Duration = Duration::from_secs(1);
/// How long the series of a removed container stay when one of them tells of a gap.
const GAP_SHOWN: Duration = Duration::from_secs(120);
/// Attempts in a row that brought nothing new, after which a record is taken for one that cannot be decoded.
const IN_VAIN: u32 = 2;

/// Reads one container's log.
pub(super) struct Follower {
    services: Arc<Services>,
    policy: InForce,
    life: watch::Receiver<ContainerState>,
    container: Arc<Container>,
    captured: Captured,
    backoff: Delays,
    /// What was last said of a failure, so that it is said once.
    complained: Option<String>,
    /// Why the log is not read from its files, as it was last told.
    not_by_files: Option<String>,
    /// The start up to which the log was read to its end.
    whole: Option<u64>,
    /// How often in a row the engine sent an error instead of something new.
    in_vain: u32,
}

/// Why a stretch of reading has ended.
pub(super) enum End {
    /// Everything was read, and the container has died.
    Died,
    /// The container, or its log, is not there any more.
    Gone,
    /// The engine cannot read this container's log driver, and never will.
    Unreadable,
    /// To be tried again.
    Failed(Fault),
    /// Its turn is over, and another container waits for the slot.
    GaveUpSlot,
    /// Only the end of the log was asked for, and it was not enough.
    FellShort,
    /// The log is written faster than it can be followed.
    Bursts,
    /// There was no room for its lines for a while.
    Held,
    /// The agent itself stood still for a while.
    StoodStill,
    /// The engine ended the stream, but the container runs: it is restarting, or its log
    /// file has a record that cannot be decoded.
    EndedEarly,
}

impl Follower {
    pub(super) fn new(services: Arc<Services>, policy: InForce, life: watch::Receiver<ContainerState>) -> Self {
        let container = Arc::clone(&life.borrow().container);
        let captured = Captured::new(&services, &policy.get(), &container);
        Self {
            backoff: services.backoff(),
            services,
            policy,
            life,
            container,
            captured,
            complained: None,
            not_by_files: None,
            whole: None,
            in_vain: 0,
        }
    }

    /// Runs until the container is removed. On the heap once: a future that takes it by value has room for it twice, and there
    /// may be thousands.
    pub(super) async fn run(mut self: Box<Self>) {
        self.captured.publish();
        let mut read_to = 0;
        loop {
            let Some(started) = self.next_start(read_to).await else {
                self.captured.forget();
                if self.captured.series().has_gap() {
                    // To be scraped at least once.
                    sleep(GAP_SHOWN).await;
                }
                return;
            };
            let end = match self.files() {
                // No connection is held, so no slot is taken.
                Ok(Some(files)) => Box::pin(self.read_files(files)).await,
                Err(fault) => End::Failed(fault),
                Ok(None) => {
                    let _slot = self.slot().await;
                    if self.life.borrow().destroyed {
                        End::Gone
                    } else {
                        // On the heap: a container that rests or waits for its turn holds none of it, and there may be
                        // thousands.
                        Box::pin(self.read()).await
                    }
                }
            };
            self.captured.rest();
            match end {
                End::Died => {
                    self.recovered();
                    read_to = started;
                }
                End::Gone => {
                    // It was started, and its log was not read to the end.
                    if self.whole != Some(started) {
                        warn!(
                            container = self.container.name,
                            "the container was removed before its log was read: lines may be missing"
                        );
                        self.captured.note_gap();
                    }
                    self.captured.forget();
                    read_to = started;
                }
                End::Unreadable => {
                    self.removed().await;
                    return;
                }
                End::GaveUpSlot | End::FellShort | End::StoodStill | End::Bursts => {}
                End::Held => self.room().await,
                End::EndedEarly => self.pause().await,
                End::Failed(fault) => {
                    self.complain(&fault);
                    self.pause().await;
                    self.in_vain += u32::from(fault.error_type() == "engine_error");
                    if self.in_vain >= IN_VAIN {
                        self.in_vain = 0;
                        if let Err(fault) = Box::pin(self.ask_for_what_can_be_decoded()).await {
                            debug!(container = self.container.name, %fault, "not found out what can be decoded");
                        }
                    }
                }
            }
        }
    }

    /// Waits for a start that has not been read to its end; `None` when none can come.
    async fn next_start(&mut self, read_to: u64) -> Option<u64> {
        loop {
            let (starts, removed) = {
                let life = self.life.borrow_and_update();
                (life.starts, life.removed)
            };
            self.rename();
            if starts != read_to {
                return Some(starts);
            }
            if removed || self.life.changed().await.is_err() {
                return None;
            }
        }
    }

    /// Waits until there is room for lines.
    async fn room(&mut self) {
        let services = Arc::clone(&self.services);
        let room = poll_fn(|cx| services.outbox.poll_room_for(cx, 1));
        self.captured.while_waiting(room).await;
    }

    /// Waits for a slot, and shows how far behind the container falls meanwhile.
    async fn slot(&mut self) -> Slot {
        let services = Arc::clone(&self.services);
        let waits = || services.metrics.errors.with_label_values(&["pool_full"]).inc();
        let mut slot = pin!(services.slots.take(waits));
        loop {
            match self.captured.while_waiting(timeout(LAG_SHOWN, &mut slot)).await {
                Ok(slot) => return slot,
                Err(_) => self.captured.show_lag(),
            }
        }
    }

    fn not_opened(&mut self, fault: Fault) -> End {
        self.count("open_failed");
        match fault {
            Fault::Gone(_) => End::Gone,
            Fault::Unreadable(error) => {
                warn!(
                    container = self.container.name, %error,
                    "this container's log driver cannot be read; left alone until it is recreated"
                );
                End::Unreadable
            }
            fault @ Fault::Broken(_) => End::Failed(fault),
        }
    }

    fn not_read(&mut self, fault: Fault) -> End {
        self.count(fault.error_type());
        End::Failed(fault)
    }

    fn count(&self, error_type: &str) {
        let errors = &self.services.metrics.errors;
        errors.with_label_values(&[error_type]).inc();
    }

    /// Waits before the next attempt: longer each time, but not when there is news. Shows how far behind the container
    /// falls meanwhile.
    async fn pause(&mut self) {
        let pause = self.next_pause();
        let mut news = pin!(timeout(pause, self.life.changed()));
        loop {
            let waited = self.captured.while_waiting(timeout(LAG_SHOWN, &mut news)).await;
            self.captured.show_waiting();
            if waited.is_ok() {
                return;
            }
        }
    }

    fn next_pause(&mut self) -> Duration {
        self.backoff.grown()
    }

    /// Waits until the container is removed.
    async fn removed(&mut self) {
        let _ = self.life.wait_for(|life| life.removed).await;
    }

    /// Says what is wrong, once for each kind of trouble. That the engine is away is said
    /// once for all containers, elsewhere.
    fn complain(&mut self, fault: &Fault) {
        let text = fault.to_string();
        if fault.concerns_all() || self.complained.as_ref() == Some(&text) {
            debug!(container = self.container.name, error = text, "log stream failed again");
            return;
        }
        warn!(
            container = self.container.name,
            error = text,
            "log stream failed; it is opened again"
        );
        self.complained = Some(text);
    }

    fn recovered(&mut self) {
        if self.complained.take().is_some() {
            info!(container = self.container.name, "log read to its end");
        }
    }

    /// Takes over another policy, before the next line. Tells whether there is one.
    fn renew_policy(&mut self) -> bool {
        let Some(policy) = self.policy.renew() else {
            return false;
        };
        self.captured.obey(&policy, &self.container);
        true
    }

    /// Takes over a new name, and what rules say of it.
    fn rename(&mut self) {
        let now = Arc::clone(&self.life.borrow().container);
        if Arc::ptr_eq(&now, &self.container) {
            return;
        }
        self.captured.obey(&self.policy.get(), &now);
        self.container = now;
    }
}
