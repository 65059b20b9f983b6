//! Where an engine listens, as `docker.host` and `DOCKER_HOST` say it.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// The socket where nothing else is said.
const SOCKET: &str = "/var/run/docker.sock";
/// Longest path of a unix socket (`sun_path` less its end).
const LONGEST_PATH: usize = 107;
const PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// Where an engine listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// At the absolute path of a unix socket.
    Unix(PathBuf),
    /// At a host, over TCP, with TLS or without.
    Tcp {
        /// What the address itself says of TLS.
        scheme: Scheme,
        /// A name, or the literal of an address, an IPv6 one without its brackets.
        host: String,
        /// The port, if one is given; otherwise [`Address::default_port`] counts.
        port: Option<u16>,
    },
}

/// What an address says of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Nothing: that is told elsewhere.
    Tcp,
    /// There is none.
    Http,
    /// There must be.
    Https,
}

/// Why a text is no address, to be read after "docker.host: ".
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It has none of the known schemes.
    #[error("must be unix:// and an absolute path, or tcp://host:port, http://host:port or https://host:port")]
    Unknown,
    #[error(
        "names ssh://, which is not supported: forward the engine's socket, as in ssh -L /run/engine.sock:{SOCKET} HOST"
    )]
    /// It begins with `ssh://`, as an address of the docker client may.
    Ssh,
    /// The path does not fit into a socket address.
    #[error("is longer than the {LONGEST_PATH} bytes that a unix socket's path can have")]
    TooLong,
    /// The address itself is not repeated: it may hold a password.
    #[error("must not have a user name, a path or a query after its scheme: host and port alone")]
    More,
    #[error(
        "has no port from 1 to 65535 after its colon; an IPv6 address stands in brackets, as in tcp://[::1]:{PORT}"
    )]
    /// What stands behind the colon is not a port.
    Port,
    /// What stands in brackets is not an IPv6 address.
    #[error("has brackets around something that is not an IPv6 address")]
    Brackets,
    /// The host has characters that no host name has.
    #[error("has a host name with other characters than letters, digits, dots, hyphens and underscores")]
    Name,
}

impl Address {
    /// The port where none is said.
    pub fn default_port(tls: bool) -> u16 {
        if tls { TLS_PORT } else { PORT }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("unix", path)) => return unix(path),
            Some(("tcp", rest)) => (Scheme::Tcp, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("ssh", _)) => return Err(AddressError::Ssh),
            Some(_) => return Err(AddressError::Unknown),
            // As the docker client takes it.
            None if text.contains(':') => (Scheme::Tcp, text),
            None => return Err(AddressError::Unknown),
        };
        let (host, port) = authority(rest.strip_suffix('/').unwrap_or(rest))?;
        Ok(Address::Tcp { scheme, host, port })
    }
}

fn unix(path: &str) -> Result<Address, AddressError> {
    let path = if path.is_empty() { SOCKET } else { path };
    if !path.starts_with('/') {
        return Err(AddressError::Unknown);
    }
    if path.len() > LONGEST_PATH {
        return Err(AddressError::TooLong);
    }
    Ok(Address::Unix(path.into()))
}

fn authority(text: &str) -> Result<(String, Option<u16>), AddressError> {
    if text.contains(['/', '@', '?', '#']) {
        return Err(AddressError::More);
    }
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(AddressError::Brackets)?;
        host.parse::<Ipv6Addr>().map_err(|_| AddressError::Brackets)?;
        (host, port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !host.chars().all(is_plain) {
            return Err(AddressError::Name);
        }
        // The docker client's own.
        (if host.is_empty() { "localhost" } else { host }, port)
    };
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|&port| port != 0).ok_or(AddressError::Port)?),
        None if port.is_empty() => None,
        None => return Err(AddressError::Port),
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(scheme: Scheme, host: &str, port: impl Into<Option<u16>>) -> Result<Address, AddressError> {
        Ok(Address::Tcp {
            scheme,
            host: host.to_owned(),
            port: port.into(),
        })
    }

    #[test]
    fn what_the_docker_client_understands() {
        use Scheme::{Http, Https, Tcp};
        for (text, address) in [
            ("unix:///run/engine.sock", Ok(Address::Unix("/run/engine.sock".into()))),
            ("unix://", Ok(Address::Unix(SOCKET.into()))),
            ("tcp://10.0.0.7:2375", tcp(Tcp, "10.0.0.7", 2375)),
            ("tcp://build-1.example.org", tcp(Tcp, "build-1.example.org", None)),
            ("tcp://[::1]:2376", tcp(Tcp, "::1", 2376)),
            ("tcp://[fd00::7]", tcp(Tcp, "fd00::7", None)),
            ("tcp://:2375", tcp(Tcp, "localhost", 2375)),
            ("tcp://", tcp(Tcp, "localhost", None)),
            ("engine:2375", tcp(Tcp, "engine", 2375)),
            ("http://engine:80/", tcp(Http, "engine", 80)),
            ("https://engine", tcp(Https, "engine", None)),
        ] {
            assert_eq!(text.parse(), address, "{text}");
        }
        assert_eq!([false, true].map(Address::default_port), [2375, 2376]);
    }

    #[test]
    fn what_is_no_address() {
        use AddressError::*;
        for (text, error) in [
            ("", Unknown),
            ("/run/docker.sock", Unknown),
            ("unix://run/docker.sock", Unknown),
            ("npipe:////./pipe/docker_engine", Unknown),
            ("ssh://user@host", Ssh),
            ("tcp://user:secret@host:2376", More),
            ("tcp://host:2376/prefix", More),
            ("tcp://host:2376?x", More),
            ("tcp://host:", Port),
            ("tcp://host:0", Port),
            ("tcp://host:65536", Port),
            ("tcp://host:http", Port),
            ("tcp://::1:2375", Port),
            ("tcp://[::1]2375", Port),
            ("tcp://[::1", Brackets),
            ("tcp://[10.0.0.1]:1", Brackets),
            ("tcp://a b:1", Name),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text}");
        }
        let long = format!("unix:///{}", "x".repeat(LONGEST_PATH));
        assert_eq!(long.parse::<Address>(), Err(TooLong));
    }
}
