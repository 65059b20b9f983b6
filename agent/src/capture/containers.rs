//! Which containers there are: subscribe first, then list, then reconcile from time to time.
//!
//! Events come and go with the engine, one can come twice, and a slow subscriber loses some.
//! So events only make it quick; the list makes it true.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, error, info, warn};

use super::follower::Follower;
use super::policy::{InForce, Policies, Policy};
use super::{ContainerState, Services, own};
use crate::engine::{Action, EngineError, Event, Listed};
use crate::readiness::Part;
use crate::record::{Container, ContainerId, Time};

/// How often the list is compared with what the events told.
const RECONCILE: Duration = Duration::from_secs(60);

/// How often it is shown what is held of files that the engine has removed.
const HELD_SHOWN: Duration = Duration::from_secs(1);

/// A session that was shorter than this has not mended what ended the last one.
const LASTING: Duration = Duration::from_secs(10);

/// Follows every container of the engine.
pub struct Capture {
    services: Arc<Services>,
    policies: Policies,
    /// What has selected the containers that are known.
    policy: InForce,
    readiness: Part,
    own: Option<ContainerId>,
    /// Of its own log, which is said once.
    has_warned: bool,
    known: HashMap<ContainerId, Known>,
    followers: JoinSet<ContainerId>,
    /// The time of the last event: a subscription resumes there, and brings those of that time again.
    last_event: Option<Time>,
    at_last_event: Vec<Event>,
    /// When the list was asked for: it knows what happened before.
    listed: Time,
}

/// A container that is followed.
struct Known {
    life: watch::Sender<ContainerState>,
    follower: AbortHandle,
}

impl Capture {
    /// Nothing happens before [`Self::run`]. `readiness` is told how far that has come.
    pub fn new(services: Services, policies: &Policies, readiness: Part) -> Self {
        Self {
            services: Arc::new(services),
            policies: policies.clone(),
            policy: policies.follow(),
            readiness,
            own: own::container(),
            has_warned: false,
            known: HashMap::new(),
            followers: JoinSet::new(),
            last_event: None,
            at_last_event: Vec::new(),
            listed: Time::now(),
        }
    }

    /// Runs until `stop`, and returns when every stream is closed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        if let Some(own) = &self.own {
            info!(
                container = own.short(),
                "running in a container; its own log is not captured"
            );
        }
        tokio::select! {
            () = stop => {}
            () = show_held(Arc::clone(&self.services)) => {}
            () = keep_limits(Arc::clone(&self.services), self.policies.follow()) => {}
            () = self.watch() => {}
        }
        // Each drops its stream, wherever it waits.
        self.followers.shutdown().await;
    }

    /// Keeps in touch with the engine, for ever.
    async fn watch(&mut self) {
        let mut backoff = self.services.backoff();
        let mut complained = None;
        loop {
            let began = Instant::now();
            let error = self.session().await;
            if began.elapsed() > LASTING {
                backoff = self.services.backoff();
                complained = None;
            }
            let text = format!("{}: {error}", self.services.engine.host());
            self.readiness.down(&text);
            // Of an open circuit breaker more need not be said than it said itself.
            let is_news = !matches!(error, EngineError::BreakerOpen { .. }) && complained.as_ref() != Some(&text);
            if is_news || complained.is_none() {
                warn!(error = text, "no connection to the engine; trying again");
                complained = Some(text);
            }
            let growing = backoff.grown();
            let pause = self.services.engine.refuses_for().unwrap_or(growing);
            debug!(?pause, "waiting for the engine");
            let _ = timeout(pause, self.services.engine.answering_again()).await;
        }
    }

    /// From a connect to what ended it.
    async fn session(&mut self) -> EngineError {
        let engine = self.services.engine.clone();
        let subscribed = async {
            let version = engine.ping().await?;
            self.services.source.meet().await;
            self.services.host.learn(&engine, self.own.is_some()).await?;
            let events = engine.events(self.last_event).await?;
            let listed = Time::now();
            Ok((version, events, listed, engine.list().await?))
        };
        let (version, mut events, asked, listed) = match subscribed.await {
            Ok(subscribed) => subscribed,
            Err(error) => return error,
        };
        self.listed = asked;
        if let Some(policy) = self.policy.renew() {
            self.leave_out(&policy).await;
        }
        self.reconcile(listed);
        self.readiness.up(&format!("API {version}"));
        if let Some(own) = self
            .own
            .as_ref()
            .filter(|_| self.services.to_stdout && !self.has_warned)
        {
            own::warn_of_own_log(&engine, own).await;
            self.has_warned = true;
        }
        info!(api = %version, containers = self.known.len(), "connected to the engine");
        let mut reconcile = interval(RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reconcile.reset();
        loop {
            let failed = tokio::select! {
                event = events.next() => match event {
                    Ok(Some(event)) => {
                        self.happened(event);
                        continue;
                    }
                    Ok(None) => EngineError::Cut,
                    Err(error) => error,
                },
                policy = self.policy.renewed() => {
                    self.leave_out(&policy).await;
                    // Those that it includes are followed at once.
                    reconcile.reset_immediately();
                    continue;
                }
                _ = reconcile.tick() => match engine.list().await {
                    Ok(listed) => {
                        self.reconcile(listed);
                        continue;
                    }
                    Err(error) => error,
                },
                Some(ended) = self.followers.join_next() => {
                    self.let_go(ended);
                    continue;
                }
            };
            return failed;
        }
    }

    fn happened(&mut self, event: Event) {
        if self.at_last_event.contains(&event) {
            return;
        }
        if self.last_event < Some(event.time) {
            self.last_event = Some(event.time);
            self.at_last_event.clear();
        }
        self.at_last_event.push(event.clone());
        match event.action {
            Action::Start(container) => self.started(container, event.time >= self.listed),
            Action::Die => self.tell(&event.id, |life| life.running = false),
            Action::Destroy => {
                self.services.register.container_gone(&event.id);
                self.tell(&event.id, |life| {
                    life.running = false;
                    life.removed = true;
                    life.destroyed = true;
                });
            }
            Action::Rename(name) => self.tell(&event.id, |life| {
                let mut container = Container::clone(&life.container);
                container.name = name;
                life.container = Arc::new(container);
            }),
        }
    }

    /// A container runs: it has just been started, or it was found so.
    fn started(&mut self, container: Container, just_now: bool) {
        if self.own.as_ref() == Some(&container.id) || !self.policy.get().selection.selects(&container) {
            return;
        }
        let id = container.id.clone();
        if let Some(known) = self.known.get(&id) {
            known.life.send_modify(|life| {
                life.starts += u64::from(just_now || !life.running);
                life.running = true;
                life.removed = false;
                life.destroyed = false;
                if *life.container != container {
                    life.container = Arc::new(container);
                }
            });
            return;
        }
        let (sender, life) = watch::channel(ContainerState {
            container: Arc::new(container),
            starts: 1,
            running: true,
            removed: false,
            destroyed: false,
        });
        let follower = Follower::new(Arc::clone(&self.services), self.policies.follow(), life);
        let follower = {
            let id = id.clone();
            self.followers.spawn(async move {
                follower.run().await;
                id
            })
        };
        let known = Known { life: sender, follower };
        self.known.insert(id, known);
    }

    /// What the list says is true, whatever the events said. Every follower hears of it, so
    /// one that waits to try again does so now.
    fn reconcile(&mut self, listed: Vec<Listed>) {
        let mut there = HashMap::new();
        for Listed {
            container,
            running,
            created,
        } in listed
        {
            let id = container.id.clone();
            there.insert(id.clone(), running);
            if running {
                self.started(container, false);
            } else if !self.known.contains_key(&id) && self.has_unread(&id, created) {
                // It ended while nobody looked: read to its end, as one that runs no more.
                self.started(container, false);
            }
        }
        self.services.positions.retain(|id| there.contains_key(id));
        for (id, known) in &self.known {
            let running = there.get(id).copied();
            if running != Some(true) {
                if running.is_none() {
                    self.services.register.container_gone(id);
                }
                known.life.send_modify(|life| {
                    life.running = false;
                    life.removed = running.is_none();
                });
            }
        }
    }

    /// Whether a container that does not run can have lines that were never taken.
    fn has_unread(&self, id: &ContainerId, created: Time) -> bool {
        // To the second, as the list tells it.
        created.0 + 1_000_000_000 > self.services.unseen_since.0 || self.services.positions.knows(id)
    }

    fn tell(&self, id: &ContainerId, change: impl FnOnce(&mut ContainerState)) {
        if let Some(known) = self.known.get(id) {
            known.life.send_modify(change);
        }
    }

    /// Stops following those that a policy does not select. Each has published what it has taken, or does so as it is
    /// dropped; when this returns, all are.
    async fn leave_out(&mut self, policy: &Policy) {
        let mut leaving = Vec::new();
        for (id, known) in &self.known {
            if !policy.selection.selects(&known.life.borrow().container) {
                known.follower.abort();
                leaving.push(id.clone());
            }
        }
        info!(left_out = leaving.len(), "another policy is in force");
        while leaving.iter().any(|id| self.known.contains_key(id)) {
            let Some(ended) = self.followers.join_next().await else {
                return;
            };
            self.let_go(ended);
        }
    }

    fn let_go(&mut self, ended: Result<ContainerId, JoinError>) {
        match ended {
            Ok(id) => {
                self.known.remove(&id);
            }
            Err(error) => {
                // Reconciling follows the container again.
                if error.is_panic() {
                    error!(panic = %error, "a follower has failed; please report this");
                }
                self.known.retain(|_, known| known.follower.id() != error.id());
            }
        }
    }
}

/// Shows how much of the disk is taken for logs that the engine has removed, for as long as it is polled.
async fn show_held(services: Arc<Services>) {
    loop {
        tokio::time::sleep(HELD_SHOWN).await;
        services.metrics.held_deleted.set(services.source.held().cast_signed());
    }
}

/// Holds the slots to what the policy in force says, for as long as it is polled.
async fn keep_limits(services: Arc<Services>, mut policy: InForce) {
    let mut limits = policy.get().slots;
    loop {
        let resized = async {
            services.slots.resize(limits).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = resized => {}
            policy = policy.renewed() => limits = policy.slots,
        }
    }
}
