//! A store of logs, which takes records by HTTP. Its connection is of the same kind as the engine's, stands in the register as
//! well, and has guards of its own: a breaker, a rate limit, and growing delays.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::RETRY_AFTER;
use tokio::time::timeout;

use super::guard::{Breaker, Delays, Outcome, Queue, Rate, RateLimit, Refusal, Retry, Thresholds};
use super::metrics::Metrics;
use super::transport::{Connection, Endpoint, Limits, Opener, TransportError};
use crate::register::{Opening, Register, Site};

/// A store may take its time with a full request.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    head: Duration::from_secs(30),
    body: Duration::from_secs(10),
};
/// A store that has come back gets its lines within two seconds: the longest delay and an open breaker together take no
/// longer.
const RETRY: Retry = Retry {
    initial_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(1),
    max_attempts: usize::MAX,
};
const THRESHOLDS: Thresholds = Thresholds {
    failure_threshold: 5,
    failure_window: Duration::from_secs(60),
    open_time: Duration::from_secs(1),
    half_open_calls: 1,
    success_threshold: 1,
};
/// More than any store needs of full requests, and a bound for whatever goes wrong.
const RATE: Rate = Rate {
    requests_per_second: NonZeroU32::new(100).unwrap(),
    burst: NonZeroU32::new(100).unwrap(),
    max_wait: Duration::from_secs(60),
};
/// After so long without a request the connection is closed. Stores and proxies close theirs after 60 s and more.
const IDLE: Duration = Duration::from_secs(30);
/// Longest text of an answer that is read: a refusal names each entry that it refuses.
const ANSWER: usize = 256 * 1024;

/// A client of one store, with one connection, and one request at a time.
pub struct Store {
    opener: Opener,
    path: String,
    connection: Option<Connection>,
    breaker: Breaker,
    rate: RateLimit,
}

/// What a store has answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A request without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// One of a fixed set, for a label.
    pub reason: &'static str,
    message: String,
    /// The store may have taken what it was sent.
    pub is_sent: bool,
    /// When the next request has a chance, where that is known.
    pub retry_in: Option<Duration>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// What is at `path` of `endpoint`. `name` is what messages call it.
    /// The store's connections are counted in `metrics`, which are not the engine's own.
    pub fn new(endpoint: Endpoint, path: String, name: &str, register: &Register, metrics: Arc<Metrics>) -> Self {
        Self {
            breaker: Breaker::new(THRESHOLDS, Arc::clone(&metrics), name),
            rate: RateLimit::new(RATE),
            opener: Opener {
                endpoint: Arc::new(endpoint),
                register: register.clone(),
                limits: LIMITS,
                metrics,
            },
            path,
            connection: None,
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.opener.endpoint
    }

    /// Delays between attempts, from the first on.
    pub fn delays() -> Delays {
        RETRY.delays()
    }

    /// Sends a request and waits for its answer, whatever that is.
    pub async fn post(&mut self, headers: &[(&str, &str)], body: Bytes) -> Result<Reply, StoreError> {
        self.breaker.check()?;
        self.rate.pass(Queue::Control).await?;
        let call = self.breaker.enter()?;
        // On the heap, and only then: a request takes some KiB.
        let exchange = exchange(&self.opener, &mut self.connection, &self.path, headers, body);
        let result = Box::pin(exchange).await;
        match &result {
            // It answers. What is wrong with the request is not the store's fault.
            Ok(reply) if reply.status < 500 => call.ended(Outcome::Success, String::new),
            Ok(reply) => call.ended(Outcome::Failure, || format!("status {}", reply.status)),
            Err(error) => call.ended(Outcome::Failure, || error.to_string()),
        }
        result
    }

    /// Waits for `future`. Meanwhile a connection that the store closes is closed here as well, and so is one that was not used
    /// for long.
    pub async fn meanwhile<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        if let Some(connection) = &mut self.connection {
            tokio::select! {
                biased;
                output = &mut future => return output,
                _ = timeout(IDLE, connection.closed()) => {}
            }
            self.connection = None;
        }
        future.await
    }
}

async fn exchange(
    opener: &Opener,
    connection: &mut Option<Connection>,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Reply, StoreError> {
    // Taken: whatever happens before its whole answer is here, it is closed.
    let kept = connection.take().filter(Connection::is_reusable);
    let mut open = match kept {
        Some(open) => open,
        None => {
            let opening = Opening {
                site: Site::Sink,
                container: None,
            };
            let opened = opener.open(opening).await;
            opened.map_err(|error| StoreError::new(&error, false))?
        }
    };
    let answer = open.post(path, headers, body, ANSWER).await;
    let answer = answer.map_err(|error| StoreError::new(&error, true))?;
    let reply = Reply {
        status: answer.status,
        retry_after: answer
            .headers
            .get(RETRY_AFTER)
            .and_then(|value| Some(value.to_str().ok()?.to_owned())),
        body: answer.body,
    };
    if open.is_reusable() {
        *connection = Some(open);
    }
    Ok(reply)
}

impl StoreError {
    fn new(error: &TransportError, is_sent: bool) -> Self {
        Self {
            reason: error.reason(),
            message: error.to_string(),
            is_sent,
            retry_in: None,
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self {
            reason: refusal.reason(),
            message: refusal.to_string(),
            is_sent: false,
            retry_in: refusal.retry_in(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::{StoreTls, StoreUrl};
    use crate::metrics::registry;

    const STORED: &str = "HTTP/1.1 204 No Content\r\n\r\n";

    fn store(listener: &TcpListener, register: &Register) -> Store {
        let url: StoreUrl = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let endpoint = Endpoint::of_store(&url, &StoreTls::default()).unwrap();
        let metrics = Arc::new(Metrics::new(&registry().unwrap()).unwrap());
        Store::new(endpoint, "/push".to_owned(), "the store", register, metrics)
    }

    /// Reads a request of which the body is `length` bytes long.
    fn request(stream: &mut TcpStream, length: usize) -> String {
        let mut read = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some(head) = text.find("\r\n\r\n")
                && read.len() >= head + 4 + length
            {
                return text;
            }
            let more = stream.read(&mut buffer).unwrap();
            assert_ne!(more, 0, "ended in {text:?}");
            read.extend_from_slice(&buffer[..more]);
        }
    }

    #[tokio::test]
    async fn requests_go_over_one_connection_until_the_store_closes_it() {
        let (listener, register) = (TcpListener::bind("127.0.0.1:0").unwrap(), Register::default());
        let mut store = store(&listener, &register);
        let served = std::thread::spawn(move || {
            let mut heads = Vec::new();
            for requests in [2, 1] {
                let (mut stream, _) = listener.accept().unwrap();
                for _ in 0..requests {
                    heads.push(request(&mut stream, 5));
                    stream.write_all(STORED.as_bytes()).unwrap();
                }
            }
            heads
        });
        let reply = store
            .post(&[("X-Own", "yes")], Bytes::from_static(b"hello"))
            .await
            .unwrap();
        assert_eq!(reply.status, 204);
        assert_eq!(register.snapshot()[0].opening.site, Site::Sink);
        store.post(&[], Bytes::from_static(b"hello")).await.unwrap();
        // It closes, and nobody asks: that must be seen all the same.
        let closed = store.meanwhile(async {
            while register.count() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        timeout(Duration::from_secs(10), closed).await.unwrap();
        store.post(&[], Bytes::from_static(b"again")).await.unwrap();
        drop(store);
        assert_eq!(register.count(), 0);
        let heads = served.join().unwrap();
        assert!(heads[0].starts_with("POST /push HTTP/1.1\r\n"), "{}", heads[0]);
        assert!(
            heads[0].contains("x-own: yes\r\n") && heads[0].ends_with("hello"),
            "{}",
            heads[0]
        );
        assert!(heads[2].ends_with("again"));
    }

    #[tokio::test]
    async fn what_may_have_arrived_is_told_from_what_cannot_have() {
        let (listener, register) = (TcpListener::bind("127.0.0.1:0").unwrap(), Register::default());
        let mut store = store(&listener, &register);
        let address = listener.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            request(&mut stream, 5);
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = store.post(&[], Bytes::from_static(b"hello")).await.unwrap_err();
        assert!(error.is_sent, "{error}");
        served.join().unwrap();
        for _ in 0..5 {
            let error = store.post(&[], Bytes::from_static(b"hello")).await.unwrap_err();
            assert!(!error.is_sent, "{error}");
        }
        let error = store.post(&[], Bytes::from_static(b"hello")).await.unwrap_err();
        assert!(error.retry_in.is_some(), "the breaker is open: {error}");
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[tokio::test]
    async fn when_to_come_again_is_the_answers_own_word() {
        let (listener, register) = (TcpListener::bind("127.0.0.1:0").unwrap(), Register::default());
        let mut store = store(&listener, &register);
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            request(&mut stream, 5);
            let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow";
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let reply = store.post(&[], Bytes::from_static(b"hello")).await.unwrap();
        assert_eq!((reply.status, reply.retry_after.as_deref()), (429, Some("7")));
        assert_eq!(reply.body, "slow");
        served.join().unwrap();
    }
}
