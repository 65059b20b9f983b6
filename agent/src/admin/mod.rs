//! What the agent tells about itself, over HTTP on loopback.

pub mod client;
mod clients;
mod fds;
mod hosts;
mod metrics;
mod pages;
mod server;

pub use fds::{FdsPage, GrowingRow, KindRow};
pub use hosts::Hosts;
pub use metrics::Metrics;
pub use pages::{ConnectionRow, ConnectionsPage, LeakRow, LeaksPage, Pages};
pub use server::{CLIENTS, Listener, Server};
