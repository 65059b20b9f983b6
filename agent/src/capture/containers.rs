//! Which containers there are: subscribe first, then list, then reconcile from time to time.
//!
//! Events come and go with the engine, one can come twice, and a slow subscriber loses some.
//! So events only make it quick; the list makes it true. Each works without the other for as long as it must.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use super::descriptions::{Descriptions, Teller, completed};
use super::follower::Follower;
use super::listing::{Answer, Listing};
use super::own::{self, OwnContainer};
use super::policy::{InForce, Policies, Policy};
use super::tidying::tidy;
use super::{ContainerState, Services};
use crate::engine::{Action, Engine, EngineError, Event, List, Listed, Told, TransportError};
use crate::readiness::Part;
use crate::record::{Container, ContainerId, Time};

/// How often it is shown what is held of files that the engine has removed, and what waits for the sinks.
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
    own: OwnContainer,
    descriptions: Arc<Descriptions>,
    /// Whether it has warned of its own log, which is said once.
    has_warned: bool,
    known: HashMap<ContainerId, Known>,
    followers: JoinSet<ContainerId>,
    /// The time of the last event: a subscription resumes there, and brings those of that time again.
    last_event: Option<Time>,
    at_last_event: Vec<Event>,
    /// When the events were subscribed to: the first list knows what happened before.
    subscribed: Time,
    /// The containers of which it was told that their entry in the list cannot be read, and what was said of those that
    /// have no id.
    unread: HashSet<ContainerId>,
    unreadable: Vec<String>,
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
            policies: policies.clone(),
            policy: policies.follow(),
            readiness,
            own: OwnContainer::default(),
            descriptions: Arc::new(Descriptions::new(services.engine.clone())),
            services: Arc::new(services),
            has_warned: false,
            known: HashMap::new(),
            followers: JoinSet::new(),
            last_event: None,
            at_last_event: Vec::new(),
            subscribed: Time::now(),
            unread: HashSet::new(),
            unreadable: Vec::new(),
        }
    }

    /// Runs until `stop`, and returns when every stream is closed.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = show_held(Arc::clone(&self.services)) => {}
            () = keep_limits(Arc::clone(&self.services), self.policies.follow()) => {}
            () = keep_looking(Arc::clone(&self.services)) => {}
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
            // An open circuit breaker has said so itself.
            let is_news = !error.is_of_breaker() && complained.as_ref() != Some(&text);
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
            self.services.host.learn(&engine, self.own.is_hinted()).await?;
            Ok((version, engine.events(self.last_event).await?))
        };
        let (version, mut events) = match subscribed.await {
            Ok(subscribed) => subscribed,
            Err(error) => return error,
        };
        self.subscribed = Time::now();
        if let Some(policy) = self.policy.renew() {
            self.obey(&policy).await;
        }
        let mut listing = Listing::new(engine.clone(), self.services.retry);
        let mut is_connected = false;
        loop {
            tokio::select! {
                told = events.next() => match told {
                    Ok(Some(Told::Event(event))) => {
                        listing.told_of(&event.id);
                        if self.happened(event).await {
                            listing.ask_soon();
                        }
                    }
                    Ok(Some(Told::Unreadable)) => listing.ask_soon(),
                    Ok(None) => return TransportError::Cut.into(),
                    Err(error) => return error,
                },
                policy = self.policy.renewed() => {
                    self.obey(&policy).await;
                    // Those that it includes are followed at once.
                    listing.ask_at_once();
                }
                answer = listing.next() => match answer {
                    Ok(answer) => {
                        self.reconcile(answer).await;
                        self.readiness.up(&format!("API {version}"));
                        self.warn_of_own_log(&engine).await;
                        if !std::mem::replace(&mut is_connected, true) {
                            info!(api = %version, containers = self.known.len(), "connected to the engine");
                        }
                    }
                    Err(error) => self.readiness.down(&format!(
                        "{}: the list of containers cannot be had: {error}", self.services.engine.host()
                    )),
                },
                Some(ended) = self.followers.join_next() => self.let_go(ended),
            }
        }
    }

    /// Once, where the agent's own output is what the engine keeps.
    async fn warn_of_own_log(&mut self, engine: &Engine) {
        if let Some(own) = self.own.confirmed()
            && self.services.to_stdout
            && !std::mem::replace(&mut self.has_warned, true)
        {
            own::warn_of_own_log(engine, own).await;
        }
    }

    /// Tells whether the list must say what the event does not.
    async fn happened(&mut self, event: Event) -> bool {
        if self.at_last_event.contains(&event) {
            return false;
        }
        if self.last_event < Some(event.time) {
            self.last_event = Some(event.time);
            self.at_last_event.clear();
        }
        self.at_last_event.push(event.clone());
        match event.action {
            Action::Create(container) => self.created(container),
            Action::Start(container) => return self.started(container, event.time >= self.subscribed),
            Action::Die => self.tell(&event.id, |life| life.running = false),
            Action::Destroy => {
                self.services.register.container_gone(&event.id);
                self.tell(&event.id, |life| {
                    life.running = false;
                    life.removed = true;
                    life.destroyed = true;
                });
            }
            Action::Rename(name) => {
                self.tell(&event.id, |life| {
                    let mut container = Container::clone(&life.container);
                    container.name = name;
                    life.container = Arc::new(container);
                });
                // Rules go by the name, too: it can be left out by now, or be another one that is captured now.
                self.leave_out_unselected().await;
                return true;
            }
        }
        false
    }

    /// A container has been made, and is described now: once it runs the engine takes its time to answer, and one that is
    /// removed when it ends may be gone by then. Where many are made at once, the list describes those that run.
    fn created(&mut self, container: Container) {
        let id = container.id.clone();
        if !self.own.is(&id) && !self.known.contains_key(&id) && !self.descriptions.are_many() {
            self.follow(container, Some(Teller::Event));
            self.tell(&id, |life| (life.starts, life.running) = (0, false));
        }
    }

    /// A container has been started, an event says. All that it says is not known of one that was not met before. Tells
    /// whether the list must say it.
    fn started(&mut self, container: Container, just_now: bool) -> bool {
        match self.known.get(&container.id) {
            Some(known) => known.life.send_modify(|life| {
                life.starts += u64::from(just_now || !life.running);
                life.running = true;
                life.removed = false;
                life.destroyed = false;
                if life.container.name != container.name {
                    let image = life.container.image.clone();
                    let labels = life.container.labels.clone();
                    let container = Container {
                        image,
                        labels,
                        ..container
                    };
                    life.container = Arc::new(container);
                }
            }),
            None if self.own.is(&container.id) => {}
            None => return self.follow(container, Some(Teller::Event)),
        }
        false
    }

    /// The list has a container that runs, or that ended while nobody looked.
    fn found(&mut self, listed: Listed) {
        let mut container = listed.container.clone();
        if self.own.is(&container.id) {
            return;
        }
        if let Some(known) = self.known.get(&container.id) {
            known.life.send_modify(|life| {
                life.starts += u64::from(!life.running);
                life.running = true;
                life.removed = false;
                life.destroyed = false;
                // What is known already was asked for where the list cannot tell it.
                if listed.image_is_an_id() || listed.unread.contains(&"Image") {
                    container.image.clone_from(&life.container.image);
                }
                if listed.unread.contains(&"Labels") {
                    container.labels.clone_from(&life.container.labels);
                }
                life.described |= !listed.unread.contains(&"Labels");
                if *life.container != container {
                    life.container = Arc::new(container);
                }
            });
            return;
        }
        let mut ask = !listed.unread.is_empty();
        if listed.image_is_an_id() {
            match self.descriptions.known_image(&container.id) {
                Some(image) => container.image = image,
                None => ask = true,
            }
        }
        if ask {
            self.follow(container, Some(Teller::List));
        } else if self.policy.get().selection.selects(&container) {
            self.follow(container, None);
        }
    }

    /// Follows a container, if it is selected by what it was created with. That is asked for where `asks` is given.
    /// Tells whether the list is to say it, too.
    fn follow(&mut self, container: Container, asks: Option<Teller>) -> bool {
        let id = container.id.clone();
        let (sender, life) = watch::channel(ContainerState {
            container: Arc::new(container),
            described: asks.is_none(),
            starts: 1,
            running: true,
            removed: false,
            destroyed: false,
        });
        let (services, policies) = (Arc::clone(&self.services), self.policies.clone());
        let (descriptions, teller) = (Arc::clone(&self.descriptions), sender.clone());
        let asks = asks.map(|asked| (asked, self.descriptions.waits()));
        let is_one_of_many = asks.as_ref().is_some_and(|(_, waiting)| waiting.is_one_of_many());
        let follower = {
            let id = id.clone();
            self.followers.spawn(async move {
                if let Some((asked, waiting)) = asks {
                    let told = Arc::clone(&life.borrow().container);
                    // On the heap: there may be thousands that are followed, and few that are described.
                    let mut fate = life.clone();
                    let settled = async {
                        let is_settled = |life: &ContainerState| life.described || life.removed || life.destroyed;
                        let _ = fate.wait_for(is_settled).await;
                    };
                    let described = tokio::select! {
                        described = Box::pin(descriptions.of(&told, asked, &waiting)) => described,
                        // The list has told it, or it went: nobody is asked about it.
                        () = settled => None,
                    };
                    drop(waiting);
                    teller.send_modify(|life| {
                        life.described = true;
                        // Its name may be another one by now.
                        if let Some(described) = described {
                            life.container = Arc::new(completed(&life.container, described));
                        }
                    });
                    if !policies.follow().get().selection.selects(&life.borrow().container) {
                        return id;
                    }
                }
                // What the follower hears of the container's end it hears from the one who tells it.
                drop((descriptions, teller));
                Box::new(Follower::new(services, policies.follow(), life)).run().await;
                id
            })
        };
        let known = Known { life: sender, follower };
        self.known.insert(id, known);
        is_one_of_many
    }

    /// What the list says is true, whatever the events said before it was asked for. Every follower hears of it, so
    /// one that waits to try again does so now.
    async fn reconcile(&mut self, answer: Answer) {
        let Answer { list, told_of } = answer;
        self.tell_of_unread(&list);
        let listed = list.containers;
        self.own.confirm(&self.services.engine, &listed).await;
        let mut there = HashMap::new();
        for entry in listed {
            let id = entry.container.id.clone();
            there.insert(id.clone(), entry.running);
            if told_of.contains(&id) {
                continue;
            }
            // It may have ended while nobody looked: then it is read to its end, as one that runs no more.
            if entry.running || (!self.has_started(&id) && self.has_unread(&id, entry.created)) {
                self.found(entry);
            }
        }
        let is_there = |id: &ContainerId| there.contains_key(id) || told_of.contains(id);
        self.services.positions.retain(is_there);
        tidy(&self.services.positions, &self.services.outbox);
        self.descriptions.retain(is_there);
        self.unread.retain(is_there);
        for (id, known) in self.known.iter().filter(|(id, _)| !told_of.contains(id)) {
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
        self.leave_out_unselected().await;
    }

    /// Says once of each container what of its entry could not be read.
    fn tell_of_unread(&mut self, list: &List) {
        for entry in list.containers.iter().filter(|entry| !entry.unread.is_empty()) {
            let container = &entry.container;
            if self.unread.insert(container.id.clone()) {
                warn!(
                    container = container.name,
                    id = container.id.as_str(),
                    fields = entry.unread.join(", "),
                    "the list of containers has an entry that cannot be read, or is too long; it is captured with what is known"
                );
            }
        }
        if self.unreadable != list.unreadable {
            for why in &list.unreadable {
                warn!(why, "the list of containers has an entry without an id; it is left out");
            }
            self.unreadable.clone_from(&list.unreadable);
        }
    }

    /// Whether a start of the container is known. One that was only seen to be made may have run while nobody looked.
    fn has_started(&self, id: &ContainerId) -> bool {
        self.known.get(id).is_some_and(|known| known.life.borrow().starts > 0)
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

    /// Another policy is in force.
    async fn obey(&mut self, policy: &Policy) {
        let left_out = self.leave_out(policy).await;
        info!(left_out, "another policy is in force");
    }

    /// Stops following those that have become others than the policy selects.
    async fn leave_out_unselected(&mut self) {
        let policy = self.policy.get();
        self.leave_out(&policy).await;
    }

    /// Stops following those that a policy does not select, and tells how many. Each has published what it has taken, or
    /// does so as it is dropped; when this returns, all are.
    async fn leave_out(&mut self, policy: &Policy) -> usize {
        let mut leaving = Vec::new();
        for (id, known) in &self.known {
            let life = known.life.borrow();
            // One that is not described yet is judged when it is.
            if self.own.is(id) || (life.described && !policy.selection.selects(&life.container)) {
                known.follower.abort();
                leaving.push(id.clone());
            }
        }
        let left_out = leaving.len();
        while leaving.iter().any(|id| self.known.contains_key(id)) {
            let Some(ended) = self.followers.join_next().await else {
                break;
            };
            self.let_go(ended);
        }
        left_out
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

/// So that it shows when the agent stood still.
async fn keep_looking(services: Arc<Services>) {
    services.standstills.keep_looking().await;
}

/// Shows how much of the disk is taken for logs that the engine has removed, and how far containers fall behind that no
/// line is taken of because the sinks take none: for as long as it is polled.
async fn show_held(services: Arc<Services>) {
    loop {
        tokio::time::sleep(HELD_SHOWN).await;
        if !services.outbox.has_room() {
            services.metrics.show_waiting();
        }
        services.metrics.held_deleted.set(services.source.held().cast_signed());
    }
}

/// Holds the slots to what the policy in force says, for as long as it is polled.
async fn keep_limits(services: Arc<Services>, mut policy: InForce) {
    let mut limits = policy.get().slots;
    loop {
        let resized = async {
            services.slots.resize(limits.within(services.stream_room)).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = resized => {}
            policy = policy.renewed() => limits = policy.slots,
        }
    }
}
