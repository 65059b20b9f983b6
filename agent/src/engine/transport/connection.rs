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

use super::super::error::EngineError;
use super::super::metrics::Metrics;
use super::super::shorten::{Limit, Shortened};
use super::endpoint::Endpoint;
use super::socket::{Gate, Socket};
use super::tls::Cause;
use crate::decode::Chunked;
use crate::decode::Transfer;
use crate::register::{Opening, Purpose, Register};

const AGENT: &str = concat!("log-capturer/", env!("CARGO_PKG_VERSION"));
/// Longest error text of the engine that is read.
const ERROR_BODY: usize = 64 * 1024;

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
    /// Where the engine is.
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
    pub async fn open(&self, opening: Opening) -> Result<Connection, EngineError> {
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
    /// Of a TLS connection.
    cause: Option<Cause>,
    endpoint: Arc<Endpoint>,
    metrics: Arc<Metrics>,
    limits: Limits,
    opened: Instant,
    /// No request is under way: cleared when one starts, set when its whole answer is here.
    idle: bool,
}

/// A whole answer.
pub(in crate::engine) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
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

    /// Sends a request and reads its whole answer, as far as `limit` lets it.
    pub(in crate::engine) async fn get(
        &mut self,
        endpoint: &'static str,
        path: &str,
        limit: Limit,
    ) -> Result<Answer, EngineError> {
        let (head, mut body) = self.send(self.asking(path)?).await?.into_parts();
        let body = within("reading the answer", self.limits.body, async {
            let mut text = Shortened::new(limit);
            while let Some(frame) = drive(unlocked(&mut self.driver), body.frame()).await {
                let data = frame.map_err(cut_or_malformed)?.into_data().unwrap_or_default();
                if !text.add(&data) {
                    let limit = limit.text;
                    return Err(EngineError::TooLarge { endpoint, limit });
                }
            }
            Ok(text.finish())
        })
        .await
        .map_err(|error| self.explained(error))?;
        self.idle = true;
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.into(),
        })
    }

    /// Sends a request whose answer goes on for as long as the connection.
    pub async fn stream(mut self, path: &str) -> Result<StreamBody, EngineError> {
        let response = self.send(self.asking(path)?).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(path, response).await);
        }
        Ok(StreamBody {
            body: response.into_body(),
            connection: self,
        })
    }

    /// Sends a request for a log stream. The connection was opened for that purpose, so
    /// hyper sees nothing of the body.
    pub async fn raw(mut self, path: &str) -> Result<RawBody, EngineError> {
        let response = self.send(self.asking(path)?).await?;
        if response.status() != StatusCode::OK {
            if let Some(gate) = &self.gate {
                gate.open();
            }
            return Err(self.refused(path, response).await);
        }
        let transfer = transfer(response.headers());
        let socket = unlocked(&mut self.driver).take().map(|driver| driver.into_parts().io);
        match socket {
            Some(socket) if socket.head_is_whole() => Ok(RawBody { socket, transfer }),
            _ => Err(EngineError::Closed),
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
    ) -> Result<Answer, EngineError> {
        let mut request = self.head(Request::post(path));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, body) = self.send(whole(request, body)?).await?.into_parts();
        let read = within("reading the answer", self.limits.body, async {
            let body = drive(unlocked(&mut self.driver), Limited::new(body, limit).collect()).await;
            body.map_err(|error| body_error("post", limit, error))
        });
        let body = match read.await {
            Ok(body) => {
                self.idle = true;
                body.to_bytes()
            }
            Err(EngineError::TooLarge { .. }) => Bytes::new(),
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
    fn asking(&self, path: &str) -> Result<Request<Full<Bytes>>, EngineError> {
        whole(self.head(Request::get(path)), Bytes::new())
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, EngineError> {
        self.idle = false;
        let Self { sender, driver, .. } = self;
        let driver = unlocked(driver);
        let answered = within("waiting for the engine's answer", self.limits.head, async {
            drive(driver, sender.ready()).await.map_err(closed_or_malformed)?;
            drive(driver, sender.send_request(request))
                .await
                .map_err(closed_or_malformed)
        });
        answered.await.map_err(|error| self.explained(error))
    }

    /// hyper has seen a connection fail, and not that it was refused.
    fn explained(&self, error: EngineError) -> EngineError {
        match self.cause.as_ref().and_then(|cause| cause.get()) {
            Some(refused) => {
                self.metrics.connection_errors.inc();
                EngineError::Tls(refused.clone())
            }
            None => error,
        }
    }

    /// The error that an answer other than 200 is.
    async fn refused(&mut self, path: &str, response: Response<Incoming>) -> EngineError {
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), ERROR_BODY).collect();
        let read = tokio::time::timeout(self.limits.body, drive(unlocked(&mut self.driver), body)).await;
        let text = match read {
            Ok(Ok(body)) => body.to_bytes(),
            _ => Bytes::new(),
        };
        EngineError::Status {
            status,
            message: message(path, &text),
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
    pub async fn data(&mut self) -> Result<Option<Bytes>, EngineError> {
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

fn whole(head: request::Builder, body: Bytes) -> Result<Request<Full<Bytes>>, EngineError> {
    head.body(Full::new(body))
        .map_err(|error| EngineError::NoEngine(error.to_string()))
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
    future: impl Future<Output = Result<T, EngineError>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, future).await {
        Ok(result) => result,
        Err(_) => Err(EngineError::Timeout { step, limit }),
    }
}

/// hyper has many words for a peer that closed, by where it was at the time; only what it could not parse is another
/// thing.
fn closed_or_malformed(error: hyper::Error) -> EngineError {
    if error.is_parse() {
        EngineError::Http(error)
    } else {
        EngineError::Closed
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

/// What was asked, and the engine's words on it. They are `{"message": "..."}`; a peer that is no engine sends anything.
pub(crate) fn message(path: &str, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(known) => known.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let short: String = text.trim().chars().take(300).collect();
    // The query says where to begin, and is another one each time.
    let path = path.split('?').next().unwrap_or_default();
    format!("{} (GET {path})", short.replace(char::is_control, " "))
}

fn body_error(endpoint: &'static str, limit: usize, error: Box<dyn std::error::Error + Send + Sync>) -> EngineError {
    if error.is::<LengthLimitError>() {
        return EngineError::TooLarge { endpoint, limit };
    }
    match error.downcast::<hyper::Error>() {
        Ok(error) => cut_or_malformed(*error),
        Err(_) => EngineError::Cut,
    }
}

/// What a body failed for. What hyper itself finds wrong with one it calls invalid; all else is the socket's.
fn cut_or_malformed(error: hyper::Error) -> EngineError {
    let socket = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let is_cut = socket.is_some_and(|error| !matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::InvalidData));
    if is_cut || error.is_incomplete_message() {
        EngineError::Cut
    } else {
        EngineError::Http(error)
    }
}
