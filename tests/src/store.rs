//! Stand-ins for stores of logs. They decode what they are sent by the published definitions, with code that is not the
//! agent's, and misbehave when told to. They are no stores: what they do not model, they do not show.

pub mod loki;
pub mod otlp;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

pub use loki::Loki;
pub use otlp::Collector;

/// How a stand-in misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Nobody listens.
    Down,
    /// It takes its time before each answer.
    Slow(Duration),
    /// It takes nothing, and answers so: a status, and a header or nothing.
    Answer(u16, &'static str),
    /// It keeps what it is sent, and closes the connection instead of answering.
    CutAnswer,
    /// It closes the connection in the middle of what it is sent.
    CutBody,
    /// It refuses this line with 400. Loki keeps the others, a collector keeps nothing.
    Refuse(String),
    /// It keeps all but this line, answers 200, and says that one was rejected. For a collector.
    Reject(String),
    /// It refuses whoever does not show this as `Authorization`.
    Only(String),
    /// It refuses requests of more bytes.
    Largest(usize),
}

/// The head of a request.
pub struct Head(Vec<String>);

/// An answer.
pub struct Answer {
    status: u16,
    header: &'static str,
    body: Vec<u8>,
}

/// What a store keeps, and how it answers.
pub trait Keeps: Default + Send + 'static {
    /// The path that it is asked at.
    const PATH: &'static str;
    /// The largest body that it takes.
    const BODY: usize;

    /// Keeps what the store would, and answers as it would.
    fn keep(&mut self, head: &Head, body: &[u8], fault: &Fault) -> Answer;

    /// It was sent what the store would refuse.
    fn complain(&mut self, complaint: String);
}

struct State<K> {
    fault: Fault,
    kept: K,
    requests: usize,
    is_over: bool,
}

/// A server on loopback.
pub struct Server<K> {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State<K>>>,
}

impl<K: Keeps> Server<K> {
    /// One that listens, and is well.
    pub fn start() -> Self {
        Self::listening(None)
    }

    /// One that listens with TLS, with `cert.pem` and `key.pem` of this folder.
    pub fn start_with_tls(folder: &Path) -> Self {
        let read = |name: &str| fs::read(folder.join(name)).expect("a file of the certificate");
        let certificate = CertificateDer::from_pem_slice(&read("cert.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(&read("key.pem")).expect("a key");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a usable certificate");
        Self::listening(Some(Arc::new(config)))
    }

    fn listening(tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            kept: K::default(),
            requests: 0,
            is_over: false,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || listen(listener, address, tls.as_ref(), &shared));
        Self { address, scheme, state }
    }

    /// For the key `url`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// From now on it misbehaves so.
    pub fn set(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    fn kept<T>(&self, of: impl FnOnce(&K) -> T) -> T {
        of(&lock(&self.state).kept)
    }
}

impl<K> Drop for Server<K> {
    fn drop(&mut self) {
        lock(&self.state).is_over = true;
    }
}

impl Head {
    /// The value of a header, of which the name is in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let is_it = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
        let found = self.0.iter().find(is_it)?;
        Some(found.split_once(':')?.1.trim())
    }
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            header: "",
            body: body.into(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        if self.status == 204 {
            return b"HTTP/1.1 204 No Content\r\n\r\n".to_vec();
        }
        let line_end = if self.header.is_empty() { "" } else { "\r\n" };
        let head = format!(
            "HTTP/1.1 {} Status\r\n{}{line_end}Content-Length: {}\r\n\r\n",
            self.status,
            self.header,
            self.body.len()
        );
        [head.as_bytes(), &self.body].concat()
    }
}

fn lock<K>(state: &Mutex<State<K>>) -> MutexGuard<'_, State<K>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen<K: Keeps>(
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<&Arc<ServerConfig>>,
    state: &Arc<Mutex<State<K>>>,
) {
    let mut listener = Some(listener);
    while !lock(state).is_over {
        if lock(state).fault == Fault::Down {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        match accepted {
            Some((stream, _)) => {
                let (state, tls) = (Arc::clone(state), tls.cloned());
                let _ = stream.set_nonblocking(false);
                std::thread::spawn(move || match tls {
                    None => serve(stream, &state),
                    Some(config) => {
                        let connection = ServerConnection::new(config).expect("a connection");
                        serve(StreamOwned::new(connection, stream), &state);
                    }
                });
            }
            None => sleep(Duration::from_millis(5)),
        }
    }
}

/// Requests of one connection, until one of the two ends it.
fn serve<K: Keeps>(stream: impl Read + Write, state: &Mutex<State<K>>) {
    let mut reader = BufReader::new(stream);
    while let Some(answer) = next(&mut reader, state) {
        if reader.get_mut().write_all(&answer.bytes()).is_err() {
            return;
        }
    }
}

/// The answer to the next request. `None`: the connection is to be closed.
fn next<K: Keeps>(reader: &mut impl BufRead, state: &Mutex<State<K>>) -> Option<Answer> {
    let head = head(reader)?;
    let length: usize = head.header("content-length")?.parse().ok()?;
    let fault = lock(state).fault.clone();
    if fault == Fault::CutBody {
        reader.read_exact(&mut vec![0; length / 2]).ok()?;
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if let Fault::Slow(pause) = fault {
        sleep(pause);
    }
    // Whatever was said meanwhile counts: a store that has gone answers nobody.
    let mut state = lock(state);
    state.requests += 1;
    let right = [
        head.header("content-type") == Some("application/x-protobuf"),
        head.0[0].starts_with(&format!("POST {} ", K::PATH)),
        length <= K::BODY,
    ];
    if right != [true; 3] {
        state.kept.complain(format!("{:?}", head.0));
    }
    let fault = state.fault.clone();
    Some(match &fault {
        Fault::Down => return None,
        Fault::CutAnswer => {
            state.kept.keep(&head, &body, &fault);
            return None;
        }
        Fault::Answer(status, header) => Answer {
            header,
            ..Answer::new(*status, "told to")
        },
        Fault::Only(shown) if head.header("authorization") != Some(shown) => Answer::new(401, "no"),
        Fault::Largest(most) if body.len() > *most => Answer::new(413, "request entity too large"),
        _ => state.kept.keep(&head, &body, &fault),
    })
}

fn head(reader: &mut impl BufRead) -> Option<Head> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => return (!head.is_empty()).then_some(Head(head)),
            line => head.push(line.to_owned()),
        }
    }
}
