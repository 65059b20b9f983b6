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
use super::selection::Selection;
use super::silence::Intervals;
use crate::encode::Fields;

/// How old a stream's connection gets.
#[derive(Clone, Copy, Debug)]
pub struct RotationIntervals {
    pub interval: Duration,
    /// While it brings nothing.
    pub idle_interval: Duration,
}

impl RotationIntervals {
    /// When a stream that is opened now shall be rotated. Up to a tenth earlier, so that
    /// streams that began together do not rotate together.
    pub fn next(&self) -> Instant {
        Instant::now() + self.interval.mul_f64(1.0 - 0.1 * fastrand::f64())
    }
}

/// Which containers are captured, and how.
#[derive(Debug)]
pub struct Policy {
    pub selection: Selection,
    pub options: Options,
    /// The `host` of every record.
    pub host: String,
    pub fields: Fields,
    pub rotation: RotationIntervals,
    pub silence: Intervals,
}

/// The policy in force, shared by those who follow it and whoever replaces it.
#[derive(Clone, Debug)]
pub struct Policies(watch::Sender<Arc<Policy>>);

impl Policies {
    pub fn new(policy: Policy) -> Self {
        Self(watch::Sender::new(Arc::new(policy)))
    }

    /// Puts another policy in force. Containers that it leaves out are followed no more, and keep their positions; those
    /// that it includes are followed from theirs. The others go on, with their next read under the new policy.
    pub fn replace(&self, policy: Policy) {
        self.0.send_replace(Arc::new(policy));
    }

    pub fn follow(&self) -> InForce {
        let mut news = self.0.subscribe();
        let policy = Arc::clone(&news.borrow_and_update());
        InForce { policy, news }
    }
}

/// The policy as one who follows it knows it: the same until it is renewed.
#[derive(Clone, Debug)]
pub struct InForce {
    policy: Arc<Policy>,
    news: watch::Receiver<Arc<Policy>>,
}

impl InForce {
    pub fn get(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Takes the policy over that is in force now. Tells whether it is another one.
    pub fn renew(&mut self) -> bool {
        let is_another = self.news.has_changed().unwrap_or(false);
        if is_another {
            self.policy = Arc::clone(&self.news.borrow_and_update());
        }
        is_another
    }

    /// Waits until another policy is in force, and takes it over.
    pub async fn renewed(&mut self) {
        match self.news.changed().await {
            Ok(()) => self.policy = Arc::clone(&self.news.borrow_and_update()),
            // Nobody is left who could replace it.
            Err(_) => std::future::pending().await,
        }
    }
}
