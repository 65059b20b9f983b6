//! What the agent tells about itself, over HTTP on loopback.

pub mod client;
mod fds;
mod metrics;
mod pages;
mod server;

pub use fds::{FdsPage, GrowingRow, KindRow};
pub use metrics::Metrics;
pub use pages::{ConnectionRow, ConnectionsPage, LeakRow, LeaksPage, Pages};
pub use server::{CLIENTS, Listener, Server};
