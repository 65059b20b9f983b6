//! What only the agent's own user and root may ask: dead letters, in which there are lines. It is asked over a unix socket in
//! `state_dir`, by HTTP as the admin server is.

use std::convert::Infallible;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use crate::delivery::dead::DeadLetters;
pub use crate::delivery::dead::{Held, Letter};

/// The socket's name in `state_dir`.
const SOCKET: &str = "control.sock";
/// Clients at the same time. One that sends letters again may wait for long.
const CLIENTS: usize = 4;

/// Where the agent with this `state_dir` is asked.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join(SOCKET)
}

/// What was done to dead letters.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Done {
    /// So many were stored, or thrown away.
    pub removed: usize,
    /// So many were refused again.
    pub refused: usize,
    /// So many are there now.
    pub remaining: usize,
}

/// Answers about dead letters.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    letters: DeadLetters,
}

impl Control {
    /// Listens in `state_dir`. `private` is a folder on the same file system that nobody else may look into: the socket is made
    /// there, so that there is no moment in which others may connect.
    pub fn bind(state_dir: &Path, private: &Path, letters: DeadLetters) -> io::Result<Self> {
        let (new, path) = (private.join(SOCKET), socket(state_dir));
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        // What an agent that was killed has left there goes.
        fs::rename(&new, &path)?;
        Ok(Self {
            listener,
            path,
            letters,
        })
    }

    /// Answers for as long as it is polled.
    pub async fn run(self) {
        let mut serving = JoinSet::new();
        loop {
            if serving.len() == CLIENTS {
                serving.join_next().await;
            }
            match self.listener.accept().await {
                Ok((client, _)) => {
                    serving.spawn(serve(client, self.letters.clone()));
                }
                Err(error) => {
                    debug!(%error, "cannot accept at the control socket");
                    sleep(Duration::from_millis(100)).await;
                }
            }
            while serving.try_join_next().is_some() {}
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(client: UnixStream, letters: DeadLetters) {
    let answer = service_fn(|request| {
        let letters = letters.clone();
        async move { Ok::<_, Infallible>(respond(&letters, &request).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new();
    if let Err(error) = connection.serve_connection(TokioIo::new(client), answer).await {
        debug!(%error, "client of the control socket");
    }
}

async fn respond(letters: &DeadLetters, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().strip_prefix("/dead-letters");
    let parts: Vec<&str> = path.unwrap_or_default().split('/').skip(1).collect();
    let answer = match (request.method(), path, &parts[..]) {
        (&Method::GET, Some(_), []) => letters.list().await.map(|list| json(&list)),
        (&Method::GET, Some(_), [number, sink]) => match number.parse() {
            Ok(number) => {
                let sink = (*sink).to_owned();
                letters.read(Held { number, sink }).await
            }
            Err(_) => Err(io::ErrorKind::NotFound.into()),
        },
        (&Method::POST, Some(_), ["replay", sink @ ..]) => replay(letters, sink.first().copied()).await,
        (&Method::POST, Some(_), ["purge", sink @ ..]) => purge(letters, sink.first().copied()).await,
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (StatusCode::NOT_FOUND, b"there is none\n".to_vec()),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n").into_bytes()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

async fn replay(letters: &DeadLetters, sink: Option<&str>) -> io::Result<Vec<u8>> {
    let replayed = letters.replay(sink).await?;
    done(letters, sink, replayed.stored, replayed.refused).await
}

async fn purge(letters: &DeadLetters, sink: Option<&str>) -> io::Result<Vec<u8>> {
    let removed = letters.purge(sink.map(str::to_owned)).await?;
    done(letters, sink, removed, 0).await
}

async fn done(letters: &DeadLetters, sink: Option<&str>, removed: usize, refused: usize) -> io::Result<Vec<u8>> {
    let remaining = letters.count(sink.map(str::to_owned)).await?;
    Ok(json(&Done {
        removed,
        refused,
        remaining,
    }))
}

/// Numbers and names: there is nothing in them that could fail.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
