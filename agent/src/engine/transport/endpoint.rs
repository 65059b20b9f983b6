//! Where the engine or a store is, and the way there.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{EndpointError, TransportError, is_of_descriptors};
use super::link::Link;
use super::resolve::Host;
use super::socket::Io;
use super::tls::Tls;
use crate::config::{Address, Docker, StoreTls, StoreUrl, TlsMode};
use crate::open_files;
use crate::register::{Opening, Purpose, Register};

/// How long to wait for the engine to accept, when too many wait for it already.
const BACKLOG_FULL: Duration = Duration::from_millis(10);

/// A peer that has vanished is noticed: after this silence it is asked, as often, at this interval.
const KEEPALIVE: Duration = Duration::from_secs(15);
const PROBES: u32 = 4;
/// The same for what was sent and never acknowledged; it bounds the probes, too (tcp(7)).
const UNACKNOWLEDGED: Duration = Duration::from_secs(15 * (1 + PROBES as u64));

/// Where the engine is, and how to connect to it.
#[derive(Debug)]
pub struct Endpoint {
    shown: String,
    authority: String,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Unix(PathBuf),
    Tcp {
        host: Host,
        /// Replaced when the files are read again. Connections that are open go on as they began.
        tls: Option<Mutex<Arc<Tls>>>,
    },
}

impl Endpoint {
    /// The endpoint of a configuration that has been loaded. The files that TLS needs are read here.
    pub fn new(docker: &Docker) -> Result<Self, EndpointError> {
        let address = docker.host.parse();
        match address
            .map_err(|error: crate::config::AddressError| EndpointError::new("docker.host", error.to_string()))?
        {
            Address::Unix(path) => Ok(Self::unix(&path)),
            Address::Tcp { host, port, .. } => {
                let has_tls = docker.tls.mode == TlsMode::On;
                let tls = has_tls.then(|| Tls::new(&docker.tls, &host)).transpose()?;
                let host = Host::new(host, port.unwrap_or_else(|| Address::default_port(has_tls)));
                let authority = host.authority();
                Ok(Self {
                    shown: format!("tcp://{authority}"),
                    authority,
                    transport: Transport::Tcp {
                        host,
                        tls: tls.map(|tls| Mutex::new(Arc::new(tls))),
                    },
                })
            }
        }
    }

    /// Where a store is. The files that TLS needs are read here.
    pub fn of_store(url: &StoreUrl, tls: &StoreTls) -> Result<Self, EndpointError> {
        let tls = url.is_secure().then(|| Tls::of_store(tls, url.host())).transpose()?;
        let host = Host::new(url.host().to_owned(), url.port());
        let authority = host.authority();
        Ok(Self {
            shown: url.to_string(),
            authority,
            transport: Transport::Tcp {
                host,
                tls: tls.map(|tls| Mutex::new(Arc::new(tls))),
            },
        })
    }

    /// An engine at a unix socket.
    pub fn unix(path: &Path) -> Self {
        Self {
            shown: format!("unix://{}", path.display()),
            authority: "docker".to_owned(),
            transport: Transport::Unix(path.to_owned()),
        }
    }

    /// As in `unix:///var/run/docker.sock` or `tcp://[::1]:2376`.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// Waits until no name is being looked up: that has sockets of its own.
    pub async fn at_rest(&self) {
        if let Transport::Tcp { host, .. } = &self.transport {
            host.at_rest().await;
        }
    }

    /// The `Host` of requests.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The TLS settings; `None` for a connection without TLS.
    pub fn tls(&self) -> Option<Arc<Tls>> {
        match &self.transport {
            Transport::Tcp { tls, .. } => tls.as_ref().map(shared),
            Transport::Unix(_) => None,
        }
    }

    /// Makes new connections with the certificates and the key of `other`, which was made of the same files later.
    pub fn renew(&self, other: &Self) {
        if let (Transport::Tcp { tls: Some(tls), .. }, Some(new)) = (&self.transport, other.tls()) {
            *tls.lock().unwrap_or_else(PoisonError::into_inner) = new;
        }
    }

    /// Whether others can read along: neither a socket file, nor TLS, nor this machine.
    pub fn is_in_clear(&self) -> bool {
        match &self.transport {
            Transport::Tcp { host, tls: None } => {
                let address = host.name().parse::<std::net::IpAddr>();
                host.name() != "localhost" && !address.is_ok_and(|address| address.is_loopback())
            }
            _ => false,
        }
    }

    /// Connects, and enters the connection in the register before anything is awaited.
    pub async fn connect(&self, register: &Register, opening: &Opening, limit: Duration) -> Result<Io, TransportError> {
        match &self.transport {
            Transport::Unix(path) => {
                let connected = timeout(limit, connect_unix(path, register, opening)).await;
                let step = "connecting";
                let link = connected.map_err(|_| TransportError::Timeout { step, limit })?;
                link.map(Io::Plain)
            }
            // Boxed: a follower of a log that is waiting to be opened shall not be as large as this.
            Transport::Tcp { host, tls } => {
                let tls = tls.as_ref().map(shared);
                Box::pin(connect_tcp(host, tls.as_ref(), register, opening, limit)).await
            }
        }
    }
}

fn shared(tls: &Mutex<Arc<Tls>>) -> Arc<Tls> {
    Arc::clone(&tls.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn connect_unix(path: &Path, register: &Register, opening: &Opening) -> Result<Link, TransportError> {
    let socket = loop {
        match register.connecting(opening, || reserved(opening, || begin_unix(path))) {
            Err(Errno::AGAIN) => tokio::time::sleep(BACKLOG_FULL).await,
            connected => break connected.map_err(|errno| TransportError::Connect(errno.into()))?,
        }
    };
    let entry = register.enter(&socket, opening.clone())?;
    let stream = UnixStream::from_std(socket.into()).map_err(TransportError::Connect)?;
    Ok(Link::unix(stream, entry))
}

/// What is asked of the engine itself must not fail because logs have taken all descriptors.
fn reserved<T>(opening: &Opening, begin: impl FnOnce() -> T) -> T {
    if opening.site.purpose() == Purpose::Logs {
        begin()
    } else {
        open_files::with_reserve(begin)
    }
}

/// Connects at once or not at all: on AF_UNIX a `connect` that would wait fails with EAGAIN, and nothing is under way then.
fn begin_unix(path: &Path) -> rustix::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None)
}

/// The name, then its addresses in turn, then TLS: all within `limit`.
async fn connect_tcp(
    host: &Host,
    tls: Option<&Arc<Tls>>,
    register: &Register,
    opening: &Opening,
    limit: Duration,
) -> Result<Io, TransportError> {
    let end = Instant::now() + limit;
    let addresses = timeout_at(end, host.addresses())
        .await
        .map_err(|_| {
            TransportError::Resolve(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer within {limit:?}"),
            ))
        })?
        .map_err(TransportError::Resolve)?;
    let link = first_of(&addresses, register, opening, end).await?;
    let Some(tls) = tls else {
        return Ok(Io::Plain(link));
    };
    match timeout_at(end, tls.handshake(link)).await {
        Ok(Ok(session)) => Ok(Io::Tls(Box::new(session))),
        Ok(Err(error)) => Err(match tls.explain(&error) {
            Some(explained) => TransportError::Tls(explained),
            None => TransportError::Connect(io::Error::new(
                error.kind(),
                format!("the TLS handshake was cut off: {error}"),
            )),
        }),
        Err(_) => Err(TransportError::Connect(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the TLS handshake took longer than {limit:?}"),
        ))),
    }
}

/// Each address has its share of the time that is left, so that one that swallows everything does not hide the next.
async fn first_of(
    addresses: &[SocketAddr],
    register: &Register,
    opening: &Opening,
    end: Instant,
) -> Result<Link, TransportError> {
    let mut failures = Vec::new();
    let mut kind = io::ErrorKind::NotFound;
    for (at, &address) in addresses.iter().enumerate() {
        let left = end.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
        let attempt = timeout_at(Instant::now() + share, connect_to(address, register, opening));
        let error = match attempt.await {
            Ok(Ok(link)) => return Ok(link),
            // Another address would fare no better.
            Ok(Err(error)) if is_of_descriptors(&error) => return Err(TransportError::Connect(error)),
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        };
        kind = error.kind();
        failures.push(format!("{address}: {error}"));
    }
    // In the same order each time, or each time would be news.
    failures.sort();
    Err(TransportError::Connect(io::Error::new(kind, failures.join(", "))))
}

async fn connect_to(address: SocketAddr, register: &Register, opening: &Opening) -> io::Result<Link> {
    let socket = register.connecting(opening, || reserved(opening, || begin_tcp(address)))?;
    let entry = register.enter(&socket, opening.clone())?;
    let link = Connecting(TcpStream::from_std(socket.into())?, entry);
    link.0.writable().await?;
    if let Some(error) = link.0.take_error()? {
        return Err(error);
    }
    let Connecting(stream, entry) = link;
    Ok(Link::tcp(stream, entry))
}

/// In the order of a [`Link`]: given up in between, it is closed first and struck out after.
struct Connecting(TcpStream, crate::register::Entry);

/// The answer is yet to come when this returns.
fn begin_tcp(address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket(family)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_keepalive(&socket, true)?;
    sockopt::set_tcp_keepidle(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(&socket, KEEPALIVE)?;
    sockopt::set_tcp_keepcnt(&socket, PROBES)?;
    sockopt::set_tcp_user_timeout(&socket, UNACKNOWLEDGED.as_millis() as u32)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::register::Site;
    use std::net::TcpListener;

    const OPENING: Opening = Opening {
        site: Site::Pool,
        container: None,
    };

    fn closed() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0")
            .and_then(|gone| gone.local_addr())
            .unwrap()
    }

    async fn connected(addresses: &[SocketAddr], register: &Register) -> Result<Link, TransportError> {
        first_of(addresses, register, &OPENING, Instant::now() + Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn addresses_are_tried_in_turn_and_each_that_fails_is_named() {
        let register = Register::default();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let (first, second, good) = (closed(), closed(), server.local_addr().unwrap());
        let link = connected(&[first, good, second], &register).await.unwrap();
        assert_eq!(register.snapshot()[0].inode, link.inode());
        drop(link);
        assert_eq!(register.count(), 0);

        let error = connected(&[first, second], &register).await.unwrap_err().to_string();
        for address in [first, second] {
            assert!(error.contains(&format!("{address}: Connection refused")), "{error}");
        }
        assert_eq!(register.count(), 0);
    }

    /// The peer's answer is still to come.
    #[tokio::test]
    async fn it_is_in_the_register_from_connect_on_and_not_once_it_is_given_up() {
        let register = Register::default();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        {
            let connecting = connect_to(server.local_addr().unwrap(), &register, &OPENING);
            let mut connecting = std::pin::pin!(connecting);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(connecting.as_mut().poll(&mut cx).is_pending());
            assert_eq!(register.count(), 1);
        }
        assert_eq!(register.count(), 0);
    }

    #[test]
    fn a_vanished_peer_will_be_noticed() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = begin_tcp(server.local_addr().unwrap()).unwrap();
        assert!(sockopt::tcp_nodelay(&socket).unwrap() && sockopt::socket_keepalive(&socket).unwrap());
        assert_eq!(sockopt::tcp_keepidle(&socket).unwrap(), KEEPALIVE);
        assert_eq!(sockopt::tcp_keepintvl(&socket).unwrap(), KEEPALIVE);
        assert_eq!(sockopt::tcp_keepcnt(&socket).unwrap(), PROBES);
        assert_eq!(sockopt::tcp_user_timeout(&socket).unwrap(), 75_000);
    }
}
