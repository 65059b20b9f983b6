//! An engine in miniature, in the test's own runtime, which misbehaves when told to.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinSet, yield_now};

/// How requests are answered from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Answers,
    /// A few bytes at a time.
    InPieces,
    /// Reads the request, and closes.
    ClosesUnanswered,
    /// Closes in the middle of the answer.
    ClosesInAnswer,
    Fails,
    Silent,
}

impl Behaviour {
    pub(crate) const ALL: [Self; 6] = [
        Self::Answers,
        Self::InPieces,
        Self::ClosesUnanswered,
        Self::ClosesInAnswer,
        Self::Fails,
        Self::Silent,
    ];
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    live: AtomicUsize,
}

pub(crate) struct Peer {
    path: PathBuf,
    shared: Arc<Shared>,
    _acceptor: JoinSet<()>,
}

impl Peer {
    pub(crate) fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("peer-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("bind");
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Answers),
            live: AtomicUsize::new(0),
        });
        let mut acceptor = JoinSet::new();
        let serving = Arc::clone(&shared);
        acceptor.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.live.fetch_add(1, Ordering::Relaxed);
                let serving = Arc::clone(&serving);
                connections.spawn(async move {
                    // The client may hang up whenever it likes.
                    let _ = serve(stream, &serving).await;
                    serving.live.fetch_sub(1, Ordering::Relaxed);
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            path,
            shared,
            _acceptor: acceptor,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn set(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().expect("a lock") = behaviour;
    }

    /// Until every connection that was accepted is closed.
    pub(crate) async fn quiet(&self) {
        while self.shared.live.load(Ordering::Relaxed) > 0 {
            yield_now().await;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(mut stream: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let path = text.split(' ').nth(1).unwrap_or_default();
        let answer = answer(path);
        let behaviour = *shared.behaviour.lock().expect("a lock");
        match behaviour {
            Behaviour::Answers => stream.write_all(&answer).await?,
            Behaviour::InPieces => {
                for piece in answer.chunks(4) {
                    stream.write_all(piece).await?;
                    yield_now().await;
                }
            }
            Behaviour::ClosesUnanswered => return Ok(()),
            Behaviour::ClosesInAnswer => return stream.write_all(&answer[..answer.len() - 3]).await,
            Behaviour::Fails => {
                let refusal = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 17\r\n\r\n{\"message\":\"no\"}\n";
                stream.write_all(refusal).await?;
            }
            Behaviour::Silent => {
                while shared.behaviour.lock().is_ok_and(|now| *now == Behaviour::Silent) {
                    tokio::select! {
                        read = stream.read_u8() => return read.map(drop),
                        () = tokio::time::sleep(std::time::Duration::from_millis(1)) => {}
                    }
                }
                stream.write_all(&answer).await?;
            }
        }
    }
}

fn answer(path: &str) -> Vec<u8> {
    let chunked = |body: &[u8], end: &[u8]| {
        let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n";
        [
            head.as_bytes(),
            format!("{:x}\r\n", body.len()).as_bytes(),
            body,
            b"\r\n",
            end,
        ]
        .concat()
    };
    if path.contains("/events") {
        let event = br#"{"Action":"die","Actor":{"ID":"ab"},"timeNano":1}"#;
        return chunked(&[event.as_slice(), b"\n"].concat(), b"");
    }
    if path.contains("/logs") {
        let line = b"2026-11-20T15:04:58.662848374Z hello\n";
        let frame = [&[1, 0, 0, 0, 0, 0, 0, line.len() as u8], line.as_slice()].concat();
        return chunked(&frame, b"0\r\n\r\n");
    }
    let body = if path.ends_with("/_ping") { "OK" } else { "[]" };
    format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
