//! Peers at a unix socket that are no engine, or a bad one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tempfile::TempDir;

/// A listener that treats every connection alike, each in a thread that ends
/// with it: end the agent before the peer.
pub struct Peer {
    path: PathBuf,
    accepted: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Peer {
    /// A listener that hands each connection to `treat`.
    pub fn start(treat: impl Fn(UnixStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("a directory for a socket");
        let path = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("bind a socket");
        let accepted = Arc::new(AtomicUsize::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let acceptor = {
            let (accepted, over, treat) = (Arc::clone(&accepted), Arc::clone(&over), Arc::new(treat));
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    if over.load(Ordering::SeqCst) {
                        return;
                    }
                    accepted.fetch_add(1, Ordering::SeqCst);
                    let treat = Arc::clone(&treat);
                    // The agent may hang up whenever it likes: an error is no news.
                    std::thread::spawn(move || drop(treat(stream)));
                }
            })
        };
        Self {
            path,
            accepted,
            over,
            acceptor: Some(acceptor),
            _directory: directory,
        }
    }

    /// Accepts, and closes.
    pub fn closes_at_once() -> Self {
        Self::start(|_| Ok(()))
    }

    /// Greets with what no HTTP server sends.
    pub fn talks_nonsense() -> Self {
        Self::start(|mut stream| {
            stream.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\0\x01\x02\x03")?;
            until_closed(&stream)
        })
    }

    /// Accepts, and neither reads nor writes.
    pub fn says_nothing() -> Self {
        Self::start(|stream| until_closed(&stream))
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many connections have come.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = UnixStream::connect(&self.path);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// How a bad engine answers `GET /containers/ID/logs`.
#[derive(Debug, Clone, Copy)]
pub enum Logs {
    /// Frames of an unknown type, with random bytes for a length.
    GarbageFrames,
    /// A line of so many MiB in the engine's parts, without a line feed up to its end; then another line.
    HugeLine(usize),
    /// A frame that announces 4 GiB, and much of it.
    EndlessFrame,
    /// A chunk's size that is no number.
    GarbageChunks,
    /// A head that does not end.
    EndlessHead,
    /// Its end at once, as if the container had died.
    Nothing,
}

/// An engine with one running container whose log is bad, and with everything else in order.
pub struct BadEngine {
    /// Where it listens.
    pub peer: Peer,
    logs_asked: Arc<AtomicUsize>,
}

/// Its container's name.
pub const BAD_CONTAINER: &str = "bad";

impl BadEngine {
    /// An engine that answers for logs in this way.
    pub fn start(logs: Logs) -> Self {
        let logs_asked = Arc::new(AtomicUsize::new(0));
        let asked = Arc::clone(&logs_asked);
        let peer = Peer::start(move |stream| serve(stream, logs, &asked));
        Self { peer, logs_asked }
    }

    /// How often the log was asked for.
    pub fn logs_asked(&self) -> usize {
        self.logs_asked.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: UnixStream, logs: Logs, logs_asked: &AtomicUsize) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some((method, path)) = request(&mut requests)? {
        let call = call(&path);
        if call == "events" {
            stream.write_all(CHUNKED_HEAD)?;
            return until_closed(&stream);
        }
        if call.ends_with("/logs") {
            logs_asked.fetch_add(1, Ordering::SeqCst);
            return bad_logs(stream, logs);
        }
        respond(&mut stream, &method, &answer(call))?;
    }
    Ok(())
}

/// A path without its version and its query.
pub(crate) fn call(path: &str) -> &str {
    let path = path.split('?').next().unwrap_or_default();
    let versioned = path.split_once("/v1.").and_then(|(_, rest)| rest.split_once('/'));
    versioned.map_or(&path[1..], |(_, call)| call)
}

pub(crate) fn respond(stream: &mut UnixStream, method: &str, body: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}

/// Method and path of the next request; those that are sent here have no body.
pub(crate) fn request(requests: &mut impl BufRead) -> io::Result<Option<(String, String)>> {
    let mut first = String::new();
    if requests.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut header = String::new();
    while requests.read_line(&mut header)? > 2 {
        header.clear();
    }
    let mut words = first.split(' ').map(str::to_owned);
    Ok(words.next().zip(words.next()))
}

fn answer(call: &str) -> String {
    let id = "ba".repeat(32);
    let config = serde_json::json!({"Tty": false, "Image": "bad:1", "Labels": {}, "Hostname": "bad"});
    match call {
        "_ping" => return "OK".into(),
        "version" => serde_json::json!({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}),
        "containers/json" => serde_json::json!([{
            "Id": id, "Names": [format!("/{BAD_CONTAINER}")], "Image": "bad:1", "ImageID": "sha256:0", "Command": "",
            "Created": 1_700_000_000, "State": "running", "Status": "Up 1 second", "Labels": {}, "Ports": [],
        }]),
        _ => serde_json::json!({
            "Id": id, "Name": format!("/{BAD_CONTAINER}"), "Created": "2026-01-01T00:00:00Z", "Config": config,
            "State": {"Running": true, "Status": "running", "StartedAt": "2026-01-01T00:00:00Z", "Pid": 1},
            "HostConfig": {"LogConfig": {"Type": "json-file"}},
        }),
    }
    .to_string()
}

pub(crate) const CHUNKED_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n";

fn bad_logs(mut stream: UnixStream, logs: Logs) -> io::Result<()> {
    match logs {
        Logs::GarbageFrames => {
            stream.write_all(CHUNKED_HEAD)?;
            chunk(
                &mut stream,
                b"\x2a\xff\x00\x13\xca\xfe\xba\xbenot a frame at all, and not the next one either\n",
            )?;
        }
        Logs::EndlessFrame => {
            stream.write_all(CHUNKED_HEAD)?;
            chunk(
                &mut stream,
                b"\x01\x00\x00\x00\xff\xff\xff\xff2026-11-20T15:04:58.662848374Z ",
            )?;
            let part = [b'x'; 1 << 16];
            for _ in 0..(256 << 20) / part.len() {
                chunk(&mut stream, &part)?;
            }
        }
        Logs::HugeLine(mib) => {
            stream.write_all(CHUNKED_HEAD)?;
            let part = frame(&[b'x'; 16 * 1024]);
            for _ in 0..mib * 64 {
                chunk(&mut stream, &part)?;
            }
            chunk(&mut stream, &frame(b"its end\n"))?;
            chunk(&mut stream, &frame(b"another line\n"))?;
        }
        Logs::GarbageChunks => {
            stream.write_all(CHUNKED_HEAD)?;
            stream.write_all(b"not a size\r\n\x00\x01\x02\r\n")?;
        }
        Logs::Nothing => {
            stream.write_all(CHUNKED_HEAD)?;
            stream.write_all(b"0\r\n\r\n")?;
            return Ok(());
        }
        Logs::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for number in 0.. {
                stream.write_all(header(number).as_bytes())?;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    until_closed(&stream)
}

/// To be written in one piece: `write!` would send each of its zeros by itself, and wake the reader as often.
pub(crate) fn header(number: u64) -> String {
    format!("X-Header-{number}: {number:0100}\r\n")
}

/// A message to standard output, with its time.
pub(crate) fn frame(text: &[u8]) -> Vec<u8> {
    let payload = [b"2026-11-20T15:04:58.662848374Z ", text].concat();
    let length = u32::try_from(payload.len()).expect("a short text").to_be_bytes();
    [&[1, 0, 0, 0], &length[..], &payload].concat()
}

pub(crate) fn chunk(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    write!(stream, "{:x}\r\n", bytes.len())?;
    stream.write_all(bytes)?;
    stream.write_all(b"\r\n")
}

/// Takes what the agent says, and answers nothing, until the agent hangs up.
pub(crate) fn until_closed(mut stream: &UnixStream) -> io::Result<()> {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored)? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn docker(peer: &Peer, arguments: &[&str]) -> std::process::Output {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("unix://{}", peer.path().display()));
        command.args(arguments).output().expect("run docker")
    }

    /// The fault is in the log alone: the engine's own client is content with the rest.
    #[test]
    fn the_bad_engine_is_otherwise_a_good_one() {
        crate::needs!(crate::requirements::program("docker"));
        let engine = BadEngine::start(Logs::GarbageFrames);
        let listed = docker(&engine.peer, &["ps", "--format", "{{.Names}} {{.State}}"]);
        assert_eq!(listed.stdout, b"bad running\n", "{listed:?}");
        let inspected = docker(
            &engine.peer,
            &["inspect", "--format", "{{.State.Status}} {{.Config.Tty}}", "bad"],
        );
        assert_eq!(inspected.stdout, b"running false\n", "{inspected:?}");
        let logs = docker(&engine.peer, &["logs", "bad"]);
        assert!(!logs.status.success(), "{logs:?}");
        assert_eq!(engine.logs_asked(), 1);
    }

    #[test]
    fn no_engine_is_none() {
        crate::needs!(crate::requirements::program("docker"));
        for peer in [Peer::closes_at_once(), Peer::talks_nonsense()] {
            assert!(!docker(&peer, &["version"]).status.success());
            assert!(peer.accepted() > 0);
        }
    }
}
