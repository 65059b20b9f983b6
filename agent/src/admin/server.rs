//! Accepts and answers. The server is small on purpose: a few pages, a bounded number of
//! clients, and a time limit on each. Nobody keeps another one waiting: who asks nothing makes room.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::clients::{Asked, Clients, Requests};
use super::hosts::Hosts;
use super::pages::{Page, Pages};
use crate::open_files;

/// Clients at the same time. Of more than that, those that ask nothing are let go.
pub const CLIENTS: usize = 16;
/// No client is served for longer; one that asks often connects anew.
const LONGEST: Duration = Duration::from_secs(120);
/// A client that asks nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(30);
/// How often it is tried to listen where that has failed.
const TRY_AGAIN: Duration = Duration::from_secs(2);

/// Where clients may connect already; they are answered once there is a [`Server`].
pub struct Listener {
    address: SocketAddr,
    bound: Option<TcpListener>,
}

impl Listener {
    /// Begins to listen. Clients that connect wait until the server runs. Where the address cannot be had, that is told,
    /// and the server tries it again.
    pub async fn bind(address: SocketAddr) -> Self {
        let bound = match TcpListener::bind(address).await {
            Ok(listener) => Some(told(listener)),
            Err(error) => {
                warn!(
                    %address, %error,
                    "cannot listen for the admin server (admin.listen): running without it, and trying again"
                );
                None
            }
        };
        Self { address, bound }
    }

    async fn listening(self) -> TcpListener {
        if let Some(listener) = self.bound {
            return listener;
        }
        loop {
            sleep(TRY_AGAIN).await;
            match TcpListener::bind(self.address).await {
                Ok(listener) => return told(listener),
                Err(error) => debug!(address = %self.address, %error, "still cannot listen"),
            }
        }
    }
}

/// The port is the real one, even if 0 was asked for.
fn told(listener: TcpListener) -> TcpListener {
    if let Ok(address) = listener.local_addr() {
        info!(%address, "admin server listens");
    }
    listener
}

/// Serves the pages over HTTP/1, to at most [`CLIENTS`] at a time.
pub struct Server {
    listener: Listener,
    answers: Arc<Answers>,
}

/// What is answered, and to whom.
struct Answers {
    pages: Arc<Pages>,
    hosts: Hosts,
}

impl Server {
    /// A server for what the listener accepts. It serves nobody before [`Self::run`].
    pub fn new(listener: Listener, pages: Pages, hosts: Hosts) -> Self {
        let pages = Arc::new(pages);
        Self {
            listener,
            answers: Arc::new(Answers { pages, hosts }),
        }
    }

    /// Serves for as long as it is polled; dropped, it closes everything.
    pub async fn run(self) {
        let listener = self.listener.listening().await;
        let mut serving = JoinSet::new();
        let mut clients = Clients::default();
        loop {
            tokio::select! {
                accepted = accept(&listener) => match accepted {
                    Ok(client) => {
                        let asked = Asked::default();
                        let served = serve(client, Arc::clone(&self.answers), asked.clone(), clients.requests());
                        clients.add(asked, serving.spawn(served));
                        // Who has sent its request with the connection is known to ask before others come.
                        yield_now().await;
                        clients.make_room(CLIENTS);
                    }
                    Err(error) => {
                        // Out of descriptors, for one: the pause keeps it from spinning.
                        debug!(%error, "cannot accept");
                        sleep(Duration::from_millis(100)).await;
                    }
                },
                Some(ended) = serving.join_next() => if let Err(error) = ended && error.is_panic() {
                    error!(panic = %error, "a page of the admin server has failed; please report this");
                },
            }
        }
    }
}

async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let accepted = std::future::poll_fn(|cx| open_files::with_reserve(|| listener.poll_accept(cx)));
    accepted.await.map(|(client, _)| client)
}

async fn serve(client: TcpStream, answers: Arc<Answers>, asked: Asked, requests: Requests) {
    let answer = service_fn(|request| {
        requests.count(&asked);
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answers.respond(&request).await) }
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

impl Answers {
    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.is_for_us(request) {
            let text = "this server is not asked by that name: use an address, localhost, or a name of admin.hosts\n";
            return response(Page::text(StatusCode::MISDIRECTED_REQUEST, text));
        }
        if ![Method::GET, Method::HEAD].contains(request.method()) {
            let mut refused = response(Page::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"));
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        response(Arc::clone(&self.pages).get(request.uri().path()).await)
    }

    /// A browser always names a host; HTTP/1.0 need not.
    fn is_for_us(&self, request: &Request<Incoming>) -> bool {
        let named = request.headers().get_all(HOST);
        let all_allowed = named
            .iter()
            .all(|host| host.to_str().is_ok_and(|host| self.hosts.allow(host)));
        // The form that a proxy is asked by names one as well.
        let target = request.uri().host();
        all_allowed && target.is_none_or(|host| self.hosts.allow(host))
    }
}

fn response(page: Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(page.body)));
    *response.status_mut() = page.status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    response
}
