//! What the commands ask a running agent with.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, Uri, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

const LIMIT: Duration = Duration::from_secs(10);
const LONGEST: usize = 64 << 20;

/// Gets a page of the agent at `admin`, as in `http://127.0.0.1:8001`.
pub fn get(admin: &str, path: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, fetch(admin, path))
            .await
            .with_context(|| format!("no answer from {admin} in {LIMIT:?}"))?
            .with_context(|| format!("cannot ask the agent at {admin} (is it running? is that its admin.listen?)"))
    })
}

async fn fetch(admin: &str, path: &str) -> Result<String> {
    let url: Uri = admin.parse().context("not a URL")?;
    let authority = match (url.scheme_str(), url.authority()) {
        (Some("http"), Some(authority)) => authority.clone(),
        _ => bail!("expected http://HOST:PORT"),
    };
    let address = (authority.host(), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await?;
    exchange(stream, "GET", authority.as_str(), path).await
}

/// Asks the agent with this control socket. That can take long: a store may be away.
pub fn control(socket: &Path, method: &str, path: &str) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ask = async {
            let stream = UnixStream::connect(socket).await?;
            exchange(stream, method, "localhost", path).await
        };
        ask.await.with_context(|| {
            format!(
                "cannot ask the agent at {} (is it running? is that in its state_dir?)",
                socket.display()
            )
        })
    })
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, method: &str, host: &str, path: &str) -> Result<String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .body(Empty::<Bytes>::new())?;
    // Takes the sender along: without it the connection ends after the answer.
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!(error))?.to_bytes();
        let text = String::from_utf8(body.to_vec())?;
        anyhow::Ok((status, text))
    };
    let (_, answer) = tokio::join!(connection, answer);
    let (status, text) = answer?;
    if !status.is_success() {
        bail!("it answered {status}: {}", text.trim());
    }
    Ok(text)
}
