//! The agent's admin server, over plain HTTP.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Context;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};
use serde::Deserialize;

use crate::metrics::Metrics;

/// A client of the admin server of one agent.
pub struct Admin {
    port: u16,
    _reserved: OwnedFd,
    http: ureq::Agent,
}

/// An answer of the admin server.
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub body: String,
}

/// `/connections`, and what the command of that name prints.
#[derive(Debug, Deserialize)]
pub struct Connections {
    /// A row for each connection.
    pub connections: Vec<Connection>,
}

/// A row of `/connections`, as far as the tests look at it.
#[derive(Debug, Deserialize)]
pub struct Connection {
    /// The inode of its socket.
    pub inode: u64,
    /// Absent where the kernel knows nothing of it.
    pub peer: Option<String>,
    /// Absent where the agent's register knows nothing of it.
    pub purpose: Option<String>,
    /// The call that opened it.
    pub opened_by: Option<String>,
    /// The id of the container that it is for.
    pub container: Option<String>,
    /// How long ago it was opened.
    pub age_seconds: f64,
    /// `established`, `half_closed`, `peer_gone` or `unknown`.
    pub state: String,
}

/// `/leaks`, and what the command of that name prints.
#[derive(Debug, Deserialize)]
pub struct Leaks {
    /// How long ago the scan was; absent before the first.
    pub scanned_seconds_ago: Option<f64>,
    /// A row for each leak.
    pub leaks: Vec<Leak>,
    /// Kinds that only ever grow.
    pub growing: Vec<Growing>,
}

/// A kind of descriptors that only ever grows.
#[derive(Debug, Clone, Deserialize, PartialEq)]
pub struct Growing {
    /// The name of the kind.
    pub kind: String,
    /// By how many it has grown.
    pub by: u64,
    /// How fast it grows.
    pub per_hour: f64,
}

/// A row of `/leaks`, as far as the tests look at it.
#[derive(Debug, Deserialize)]
pub struct Leak {
    /// The inode of its socket.
    pub inode: u64,
    /// Why it is a leak.
    pub reason: String,
    /// `established`, `half_closed` or `peer_gone`.
    pub state: String,
    /// The call that opened it.
    pub opened_by: Option<String>,
    /// The id of the container that it was for.
    pub container: Option<String>,
}

/// `/fds`, and what the command of that name prints.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Fds {
    /// Whether all witnesses agree; absent if they could not be asked.
    pub conserved: Option<bool>,
    /// A row for each kind.
    pub kinds: Vec<FdKind>,
    /// Kinds that only ever grow.
    pub growing: Vec<Growing>,
}

/// A row of `/fds`, as far as the tests look at it.
#[derive(Debug, Deserialize, PartialEq)]
pub struct FdKind {
    /// The name of the kind.
    pub kind: String,
    /// How many are open.
    pub open: u64,
    /// How many were open at the attach.
    pub preexisting: u64,
    /// How many were opened since.
    pub opened: u64,
    /// How many were closed since.
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

    /// What `admin.listen` must be.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks for a page. It is an error if nobody answers.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let mut answer = self.http.get(format!("http://{}{path}", self.address())).call()?;
        Ok(Answer {
            status: answer.status().as_u16(),
            body: answer.body_mut().read_to_string()?,
        })
    }

    /// `/metrics`, parsed.
    pub fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics::parse(&self.get("/metrics")?.body))
    }

    /// The rows of `/connections`.
    pub fn connections(&self) -> anyhow::Result<Vec<Connection>> {
        let body = self.get("/connections")?.body;
        let page: Connections = serde_json::from_str(&body).with_context(|| format!("rows in {body}"))?;
        Ok(page.connections)
    }

    /// `/fds`, parsed.
    pub fn fds(&self) -> anyhow::Result<Fds> {
        let body = self.get("/fds")?.body;
        serde_json::from_str(&body).with_context(|| format!("rows in {body}"))
    }

    /// `/leaks`, parsed.
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
