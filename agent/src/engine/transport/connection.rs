//! One HTTP/1.1 connection to the engine, or to a store.
//!
//! hyper's connection future is not spawned: it is a part of [`Connection`] and polled by
//! whoever waits for an answer. So a connection is one object with one owner, and dropping
//! that object, at whatever `await`, closes the descriptor. A spawned driver would live on
//! by itself; that is how the descriptors of this program's predecessor leaked.

use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderMap, TRANSFER_ENCODING, USER_AGENT};
use hyper::http::request;
use hyper::{Request, Response, StatusCode};

use super::super::metrics::Metrics;
use super::endpoint::Endpoint;
use super::error::{BODY, TransportError};
use super::socket::{Gate, Socket};
use super::tls::Cause;
use crate::decode::Chunked;
use crate::decode::Transfer;
use crate::register::{Opening, Purpose, Register};

const AGENT: &str = concat!("log-capturer/", env!("CARGO_PKG_VERSION"));
/// Longest text that is read of an answer that refuses a stream.
const REFUSAL: usize = 64 * 1024;

/// Largest head of an answer; hyper would take six times as much from a peer that never comes to its end.
const HEAD: usize = 64 * 1024;

type Driver = http1::Connection<Socket, Full<Bytes>>;

/// How long each step may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// To connect, the name lookup and TLS included.
    pub connect: Duration,
    /// From the request to the end of the answer's head.
    pub head: Duration,
    /// For the whole body of a short answer.
    pub body: Duration,
}

/// What every connection is opened with.
#[derive(Clone, Debug)]
pub struct Opener {
    /// Where the peer is.
    pub endpoint: Arc<Endpoint>,
    /// Where each connection is entered.
    pub register: Register,
    /// How long each step may take.
    pub limits: Limits,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Opener {
    /// Connects, enters the connection in the register, and makes it ready for a request.
    pub async fn open(&self, opening: Opening) -> Result<Connection, TransportError> {
        let limit = self.limits.connect;
        let connected = self.endpoint.connect(&self.register, &opening, limit).await;
        let io = connected.inspect_err(|_| self.metrics.connection_errors.inc())?;
        let mut socket = Socket::new(io, Arc::clone(&self.metrics));
        let is_log = opening.site.purpose() == Purpose::Logs;
        let gate = is_log.then(|| socket.withhold_body());
        let cause = socket.cause();
        let opened = socket.opened();
        // No bytes are exchanged here: HTTP/1 has no handshake. With `writev` a body is not copied behind its head.
        let mut http = http1::Builder::new();
        let (sender, driver) = http.max_buf_size(HEAD).writev(true).handshake(socket).await?;
        Ok(Connection {
            sender,
            driver: Mutex::new(Some(driver)),
            gate,
            cause,
            endpoint: Arc::clone(&self.endpoint),
            metrics: Arc::clone(&self.metrics),
            limits: self.limits,
            opened,
            idle: true,
        })
    }
}

/// One connection, and the only owner of its descriptor.
pub struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    /// `None` once hyper is done with the connection; the socket is closed by then. Locked
    /// by nobody but the pool's reaper, which is lent idle connections as shared.
    driver: Mutex<Option<Driver>>,
    gate: Option<Gate>,
    /// Why a TLS connection was refused, once it was.
    cause: Option<Cause>,
    endpoint: Arc<Endpoint>,
    metrics: Arc<Metrics>,
    limits: Limits,
    opened: Instant,
    /// No request is under way: cleared when one starts, set when its whole answer is here.
    idle: bool,
}

/// What an answer begins with.
pub(in crate::engine) struct Head {
    pub status: u16,
    pub headers: HeaderMap,
}

/// A whole answer.
pub(in crate::engine) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What a request for a stream is answered with.
pub(in crate::engine) enum Streamed<T> {
    /// The stream.
    Open(T),
    /// Another status than 200, and the answer's text.
    Refused(Answer),
}

/// A log stream's response of which the head is read: the bare socket, and how its body is
/// coded.
pub struct RawBody {
    pub socket: Socket,
    pub transfer: Transfer,
}

impl Connection {
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether another request can be sent: nothing of the last one is left, and the peer
    /// has not closed.
    pub fn is_reusable(&self) -> bool {
        let mut driver = self.driver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &mut *driver {
            // Idle connections are polled by nobody; one poll shows a close by the peer.
            let mut cx = Context::from_waker(Waker::noop());
            if Pin::new(running).poll(&mut cx).is_ready() {
                *driver = None;
            }
        }
        self.idle && driver.is_some()
    }

    /// Sends a request, and lends the body of its answer to `take` as it comes, until that says no.
    pub(in crate::engine) async fn get(
        &mut self,
        path: &str,
        take: impl FnMut(&[u8]) -> bool,
    ) -> Result<Head, TransportError> {
        self.get_within(self.limits.body, path, take).await
    }

    /// The same, with another time for the body.
    pub(in crate::engine) async fn get_within(
        &mut self,
        limit: Duration,
        path: &str,
        mut take: impl FnMut(&[u8]) -> bool,
    ) -> Result<Head, TransportError> {
        let (head, mut body) = self.send(self.asking(path)?).await?.into_parts();
        within(BODY, limit, async {
            while let Some(frame) = drive(unlocked(&mut self.driver), body.frame()).await {
                let data = frame.map_err(cut_or_malformed)?.into_data().unwrap_or_default();
                if !take(&data) {
                    return Err(TransportError::TooLarge);
                }
            }
            Ok(())
        })
        .await
        .map_err(|error| self.explained(error))?;
        self.idle = true;
        Ok(Head {
            status: head.status.as_u16(),
            headers: head.headers,
        })
    }

    /// Sends a request whose answer goes on for as long as the connection.
    pub(in crate::engine) async fn stream(mut self, path: &str) -> Result<Streamed<StreamBody>, TransportError> {
        let response = self.send(self.asking(path)?).await?;
        if response.status() != StatusCode::OK {
            return Ok(Streamed::Refused(self.refused(response).await));
        }
        Ok(Streamed::Open(StreamBody {
            body: response.into_body(),
            connection: self,
        }))
    }

    /// Sends a request for a log stream. The connection was opened for that purpose, so
    /// hyper sees nothing of the body.
    pub(in crate::engine) async fn raw(mut self, path: &str) -> Result<Streamed<RawBody>, TransportError> {
        let response = self.send(self.asking(path)?).await?;
        if response.status() != StatusCode::OK {
            if let Some(gate) = &self.gate {
                gate.open();
            }
            return Ok(Streamed::Refused(self.refused(response).await));
        }
        let transfer = transfer(response.headers());
        let socket = unlocked(&mut self.driver).take().map(|driver| driver.into_parts().io);
        match socket {
            Some(socket) if socket.head_is_whole() => Ok(Streamed::Open(RawBody { socket, transfer })),
            _ => Err(TransportError::Closed),
        }
    }

    /// Sends a request with a body, and reads its whole answer, whatever the status. Of an answer that is longer than `limit`
    /// there is only the head.
    pub(in crate::engine) async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
        limit: usize,
    ) -> Result<Answer, TransportError> {
        let mut request = self.head(Request::post(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = self.send(whole(request, body)?).await?.into_parts();
        let read = within("reading the answer", self.limits.body, async {
            let body = drive(unlocked(&mut self.driver), Limited::new(body, limit).collect()).await;
            body.map_err(body_error)
        });
        let body = match read.await {
            Ok(body) => {
                self.idle = true;
                body.to_bytes()
            }
            Err(TransportError::TooLarge) => Bytes::new(),
            Err(error) => return Err(self.explained(error)),
        };
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    }

    /// Waits until the peer closes a connection that no request uses, and closes it.
    pub async fn closed(&mut self) {
        let driver = unlocked(&mut self.driver);
        if let Some(running) = driver {
            let _ = Pin::new(running).await;
        }
        *driver = None;
    }

    fn head(&self, request: request::Builder) -> request::Builder {
        request
            .header(HOST, self.endpoint.authority())
            .header(USER_AGENT, AGENT)
    }

    /// A request that only asks.
    fn asking(&self, path: &str) -> Result<Request<Full<Bytes>>, TransportError> {
        whole(self.head(Request::get(path)), Bytes::new())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, TransportError> {
        self.idle = false;
        let Self { sender, driver, .. } = self;
        let driver = unlocked(driver);
        let answered = within("waiting for the answer", self.limits.head, async {
            drive(driver, sender.ready()).await.map_err(closed_or_malformed)?;
            drive(driver, sender.send_request(request))
                .await
                .map_err(closed_or_malformed)
        });
        answered.await.map_err(|error| self.explained(error))
    }

    /// hyper has seen a connection fail, and not that it was refused.
    fn explained(&self, error: TransportError) -> TransportError {
        match self.cause.as_ref().and_then(|cause| cause.get()) {
            Some(refused) => {
                self.metrics.connection_errors.inc();
                TransportError::Tls(refused.clone())
            }
            None => error,
        }
    }

    /// An answer other than 200, with its text as far as it can be read.
    async fn refused(&mut self, response: Response<Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, REFUSAL).collect();
        let read = tokio::time::timeout(self.limits.body, drive(unlocked(&mut self.driver), body)).await;
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: match read {
                Ok(Ok(body)) => body.to_bytes(),
                _ => Bytes::new(),
            },
        }
    }
}

/// A body that hyper decodes as it comes.
pub struct StreamBody {
    // Dropped first: hyper then sees that nobody reads any more.
    body: Incoming,
    connection: Connection,
}

impl StreamBody {
    /// The next stretch of data, or `None` at the end.
    pub async fn data(&mut self) -> Result<Option<Bytes>, TransportError> {
        loop {
            match drive(unlocked(&mut self.connection.driver), self.body.frame()).await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.connection.explained(cut_or_malformed(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

fn whole(head: request::Builder, body: Bytes) -> Result<Request<Full<Bytes>>, TransportError> {
    head.body(Full::new(body)).map_err(TransportError::Request)
}

fn unlocked(driver: &mut Mutex<Option<Driver>>) -> &mut Option<Driver> {
    driver.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for `future`, and runs the connection while it does.
async fn drive<F: Future>(driver: &mut Option<Driver>, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(output);
        }
        let done = driver
            .as_mut()
            .is_some_and(|running| Pin::new(running).poll(cx).is_ready());
        if !done {
            return Poll::Pending;
        }
        // hyper is done with it: close it now. What it has decoded is still there.
        *driver = None;
        future.as_mut().poll(cx)
    })
    .await
}

async fn within<T>(
    step: &'static str,
    limit: Duration,
    future: impl Future<Output = Result<T, TransportError>>,
) -> Result<T, TransportError> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(TransportError::Timeout { step, limit }),
    }
}

/// hyper has many words for a peer that closed, by where it was at the time; only what it could not parse is another
/// thing.
fn closed_or_malformed(error: hyper::Error) -> TransportError {
    if error.is_parse() {
        TransportError::Http(error)
    } else {
        TransportError::Closed
    }
}

/// How the body's end is told (RFC 9112, section 6.3).
fn transfer(headers: &HeaderMap) -> Transfer {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let chunked = header(TRANSFER_ENCODING).is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    if chunked {
        Transfer::Chunked(Chunked::default())
    } else if let Some(length) = header(CONTENT_LENGTH).and_then(|v| v.parse().ok()) {
        Transfer::Length(length)
    } else {
        Transfer::UntilClose
    }
}

fn body_error(error: Box<dyn std::error::Error + Send + Sync>) -> TransportError {
    if error.is::<LengthLimitError>() {
        return TransportError::TooLarge;
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => cut_or_malformed(*error),
        Err(_) => TransportError::Cut,
    }
}

/// What a body failed for. What hyper itself finds wrong with one it calls invalid; all else is the socket's.
fn cut_or_malformed(error: hyper::Error) -> TransportError {
    let socket = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_cut = socket.is_some_and(|error| !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData));
    if is_cut || error.is_incomplete_message() {
        TransportError::Cut
    } else {
        TransportError::Http(error)
    }
}
