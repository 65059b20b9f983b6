//! The agent's admin server, over plain HTTP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
use serde::Deserialize;

use crate::metrics::Metrics;

pub struct Admin {
    port: u16,
    _reserved: OwnedFd,
    http: ureq::Agent,
}

pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// `/connections`, and what the command of that name prints.
#[derive(Debug, Deserialize)]
pub struct Connections {
    pub connections: Vec<Connection>,
}

/// A row of `/connections`, as far as the tests look at it.
#[derive(Debug, Deserialize)]
pub struct Connection {
    pub inode: u64,
    /// Absent where the kernel knows nothing of it.
    pub peer: Option<String>,
    /// Absent where the agent's register knows nothing of it.
    pub purpose: Option<String>,
    pub opened_by: Option<String>,
    pub container: Option<String>,
    pub age_seconds: f64,
    pub state: String,
}

/// `/leaks`, and what the command of that name prints.
#[derive(Debug, Deserialize)]
pub struct Leaks {
    pub scanned_seconds_ago: Option<f64>,
    pub leaks: Vec<Leak>,
    pub growing: Vec<Growing>,
}

/// A kind of descriptors that only ever grows.
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub struct Growing {
    pub kind: String,
    pub by: u64,
    pub per_hour: f64,
}

/// A row of `/leaks`, as far as the tests look at it.
#[derive(Debug, Deserialize)]
pub struct Leak {
    pub inode: u64,
    pub reason: String,
    pub state: String,
    pub opened_by: Option<String>,
    pub container: Option<String>,
}

/// `/fds`, and what the command of that name prints.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Fds {
    pub conserved: Option<bool>,
    pub kinds: Vec<FdKind>,
    pub growing: Vec<Growing>,
}

/// A row of `/fds`, as far as the tests look at it.
#[derive(Debug, Deserialize, PartialEq)]
pub struct FdKind {
    pub kind: String,
    pub open: u64,
    pub preexisting: u64,
    pub opened: u64,
    pub closed: u64,
}

impl Fds {
    /// How many are open of each kind of which there are any.
    pub fn open(&self) -> BTreeMap<&str, u64> {
        let some = self.kinds.iter().filter(|row| row.open > 0);
        some.map(|row| (row.kind.as_str(), row.open)).collect()
    }
}

/// A port of loopback, for as long as the descriptor is held: others may listen at it who name it, as with `SO_REUSEADDR` a
/// socket that does not listen is in nobody's way, and nobody gets it who asks for any (`inet_csk_get_port`).
pub fn reserve_port() -> anyhow::Result<(OwnedFd, SocketAddr)> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = getsockname(&socket)?.try_into()?;
    Ok((socket, address))
}

impl Admin {
    /// On a port that nobody else is given meanwhile: the agent's log need not be searched for the address.
    pub fn on_a_free_port() -> Self {
        let (reserved, address) = reserve_port().expect("reserve a port of loopback");
        let port = address.port();
        let http = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            // A kept connection would count among the descriptors that a test compares.
            .max_idle_connections(0)
            .build()
            .into();
        Self {
            port,
            _reserved: reserved,
            http,
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut answer = self.http.get(format!("http://{}{path}", self.address())).call()?;
        Ok(Answer {
            status: answer.status().as_u16(),
            body: answer.body_mut().read_to_string()?,
        })
    }

    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics::parse(&self.get("/metrics")?.body))
    }

    pub fn connections(&self) -> anyhow::Result<Vec<Connection>> {
        let body = self.get("/connections")?.body;
        let page: Connections = serde_json::from_str(&body).with_context(|| format!("rows in {body}"))?;
        Ok(page.connections)
    }

    pub fn fds(&self) -> anyhow::Result<Fds> {
        let body = self.get("/fds")?.body;
        serde_json::from_str(&body).with_context(|| format!("rows in {body}"))
    }

    pub fn leaks(&self) -> anyhow::Result<Leaks> {
        let body = self.get("/leaks")?.body;
        serde_json::from_str(&body).with_context(|| format!("rows in {body}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_reserved_port_is_free_for_who_names_it_and_for_nobody_else() {
        let (_reserved, address) = reserve_port().unwrap();
        for _ in 0..2 {
            let named = TcpListener::bind(address).unwrap();
            assert!(TcpListener::bind(address).is_err(), "one at a time");
            drop(named);
        }
        let others: Vec<_> = (0..2_000).map(|_| reserve_port().unwrap()).collect();
        assert!(others.iter().all(|(_, other)| *other != address));
    }
}
