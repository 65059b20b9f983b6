//! What the agent tells about itself, over HTTP on loopback; and over a unix socket what has lines in it.

mod account;
pub mod client;
mod clients;
mod control;
mod fds;
mod hosts;
mod metrics;
mod pages;
mod server;

pub use account::{AccountPage, ContainerRow, Places, SinkRow};
pub use control::{Control, Done, Held, Letter, socket};
pub use fds::{FdsPage, GrowingRow, KindRow};
pub use hosts::Hosts;
pub use metrics::Metrics;
pub use pages::{ConnectionRow, ConnectionsPage, LeakRow, LeaksPage, Pages};
pub use server::{CLIENTS, Listener, Server};
