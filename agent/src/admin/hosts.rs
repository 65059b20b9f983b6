//! Which names the server may be asked by.
//!
//! It has no authentication, and a browser can be led to ask it: a page of a foreign name, whose name leads to this
//! server's address by the time that the page asks (DNS rebinding). The browser then names the page's host. So a request
//! is answered only if its `Host` is an address, `localhost`, the machine's name, or a name of `admin.hosts`.

use std::net::IpAddr;

/// The names beside addresses and `localhost`.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// These names, however they are written.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let named = names.into_iter().filter(|name| !name.is_empty());
        Self(named.map(|name| name.to_ascii_lowercase()).collect())
    }

    /// Whether a request with this `Host` is answered.
    pub(super) fn allow(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_address = address.unwrap_or(&name).parse::<IpAddr>().is_ok();
        is_address || name == "localhost" || name.ends_with(".localhost") || self.0.contains(&name)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_name_is_not_allowed() {
        let hosts = Hosts::new(["Agent.example".to_owned(), "node-1".to_owned(), String::new()]);
        for host in [
            "127.0.0.1:8001",
            "127.0.0.1",
            "[::1]:8001",
            "[::1]",
            "10.1.2.3:80",
            "localhost:8001",
            "LOCALHOST",
            "agent.example:8001",
            "AGENT.example.",
            "node-1",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8001",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8001",
            "agent.example.evil",
            "notlocalhost",
            "[evil]:1",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
    }
}
