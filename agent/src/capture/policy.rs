//! What a reload of the configuration replaces while the agent runs, and how those who follow it take it over.
//!
//! A follower looks before each read whether its policy is still the one in force, which costs it the loading of a number.
//! So the lines of one read are all treated alike, and no line is lost or doubled: what the old policy has gathered for a
//! record is handed on before the new one takes a line.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::options::Options;
use super::probes::Intervals;
use super::selection::Selection;
use super::slots::SlotLimits;
use crate::config;
use crate::encode::Fields;
use crate::record::Time;

/// How old a stream's connection gets.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// While it brings lines.
    pub interval: Duration,
    /// While it brings nothing.
    pub idle_interval: Duration,
}

impl From<&config::Rotation> for Rotation {
    fn from(rotation: &config::Rotation) -> Self {
        Self {
            interval: rotation.interval,
            idle_interval: rotation.idle_interval.max(rotation.interval),
        }
    }
}

impl Rotation {
    /// When a stream that is opened now shall be rotated. Up to a tenth earlier, so that
    /// streams that began together do not rotate together.
    pub fn next(&self) -> Instant {
        Instant::now() + self.interval.mul_f64(1.0 - 0.1 * fastrand::f64())
    }
}

/// The time of the first line that is taken of a container that was never read before; `None`: it is its first.
pub fn first_time(start: config::Start) -> Option<Time> {
    match start {
        config::Start::Beginning => None,
        config::Start::End => Some(Time::now()),
        config::Start::Age(age) => Some(Time::now().before(age)),
    }
}

/// Which containers are captured, and how.
#[derive(Debug)]
pub struct Policy {
    /// Which containers are captured.
    pub selection: Selection,
    /// Lines of containers that were never read before are taken from this time on; `None`: all of them.
    pub start: Option<Time>,
    /// How a container's lines are treated.
    pub options: Options,
    /// The `host` of every record; if it is empty, what [`super::Host`] has found out.
    pub host: String,
    /// What a record says of its container.
    pub fields: Fields,
    /// How many streams are read at a time.
    pub slots: SlotLimits,
    /// When a stream is rotated.
    pub rotation: Rotation,
    /// When the engine is asked about silent streams.
    pub silence: Intervals,
}

/// The policy in force, shared by those who follow it and whoever replaces it.
#[derive(Clone, Debug)]
pub struct Policies(watch::Sender<Arc<Policy>>);

impl Policies {
    /// The first policy.
    pub fn new(policy: Policy) -> Self {
        Self(watch::Sender::new(Arc::new(policy)))
    }

    /// Puts another policy in force. Containers that it leaves out are followed no more, and keep their positions; those
    /// that it includes are followed from theirs. The others go on, with their next read under the new policy.
    pub fn replace(&self, policy: Policy) {
        self.0.send_replace(Arc::new(policy));
    }

    /// The policy in force.
    pub fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.borrow())
    }

    /// For one who follows the policy from now on.
    pub fn follow(&self) -> InForce {
        InForce(self.0.subscribe())
    }
}

/// The policy in force, for one who follows it. None is held on to: there may be thousands who do not read for days.
#[derive(Clone, Debug)]
pub struct InForce(watch::Receiver<Arc<Policy>>);

impl InForce {
    pub fn get(&self) -> Arc<Policy> {
        Arc::clone(&self.0.borrow())
    }

    /// The policy, where it is another one than the last time.
    pub fn renew(&mut self) -> Option<Arc<Policy>> {
        let is_another = self.0.has_changed().unwrap_or(false);
        is_another.then(|| Arc::clone(&self.0.borrow_and_update()))
    }

    /// Waits until another policy is in force.
    pub async fn renewed(&mut self) -> Arc<Policy> {
        if self.0.changed().await.is_err() {
            // Nobody is left who could replace it.
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.0.borrow_and_update())
    }
}
