//! Accepts and answers. The server is small on purpose: a few pages, a bounded number of
//! clients, and a time limit on each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::debug;

use super::pages::{Page, Pages};

/// Clients at the same time; further ones wait in the listener's queue.
pub const CLIENTS: usize = 16;
/// No client is served for longer; one that asks often connects anew.
const LONGEST: Duration = Duration::from_secs(120);
/// A client that asks nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(30);

/// Where clients may connect already; they are answered once there is a [`Server`].
pub struct Listener(TcpListener);

impl Listener {
    /// Begins to listen. Clients that connect wait until the server runs.
    pub async fn bind(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self(TcpListener::bind(address).await?))
    }

    /// Where it listens: the port is the real one, even if 0 was asked for.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Serves the pages over HTTP/1, to at most [`CLIENTS`] at a time.
pub struct Server {
    listener: TcpListener,
    pages: Arc<Pages>,
}

impl Server {
    /// A server for what the listener accepts. It serves nobody before [`Self::run`].
    pub fn new(listener: Listener, pages: Pages) -> Self {
        Self {
            listener: listener.0,
            pages: Arc::new(pages),
        }
    }

    /// Serves for as long as it is polled; dropped, it closes everything.
    pub async fn run(self) {
        let mut clients = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept(), if clients.len() < CLIENTS => match accepted {
                    Ok((client, _)) => {
                        clients.spawn(serve(client, Arc::clone(&self.pages)));
                    }
                    Err(error) => {
                        // Out of descriptors, for one: the pause keeps it from spinning.
                        debug!(%error, "cannot accept");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(_) = clients.join_next() => {}
            }
        }
    }
}

async fn serve(client: TcpStream, pages: Arc<Pages>) {
    let answer = service_fn(|request| {
        let response = respond(&request, &pages);
        async move { Ok::<_, Infallible>(response) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(client), answer);
    // Also one that asks and does not read.
    match tokio::time::timeout(LONGEST, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "admin client"),
        Err(_) => debug!("admin client let go after {LONGEST:?}"),
    }
}

fn respond(request: &Request<Incoming>, pages: &Pages) -> Response<Full<Bytes>> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut refused = response(Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"));
        refused
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    response(pages.get(request.uri().path()))
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response
}
