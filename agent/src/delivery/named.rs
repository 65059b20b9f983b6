//! A sink of either kind, as it was configured.

use super::account::Account;
use super::had::Had;
use super::network::{Credentials, Protocol};
use super::sink::Sink;
use crate::engine::Store;

/// A sink, and what it is called: in its metrics, in `/readyz` and in messages.
pub struct Named {
    /// What it is called.
    pub name: String,
    /// How it is driven.
    pub kind: Kind,
    /// What it has already.
    pub had: Had,
    /// What has become of the lines that it was given.
    pub account: Account,
    /// What its spool had at the last checkpoint, for one that has a spool.
    pub spooled: Option<u64>,
}

/// What drives a sink.
pub enum Kind {
    /// A thread, which writes bytes.
    Written(Box<dyn Sink>),
    /// A task, which sends records to a store.
    Sent(Box<Target>),
}

/// A store, and how records get there.
pub struct Target {
    /// The store.
    pub store: Store,
    /// Who the agent says it is.
    pub credentials: Credentials,
    /// How the store is spoken to.
    pub protocol: Box<dyn Protocol>,
}
