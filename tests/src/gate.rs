//! A gate before a real engine: it lets everything through, or is itself the fault.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use crate::faults::{Peer, header};

/// What stands at the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The engine.
    LetsThrough,
    /// Accepts, reads, and says nothing.
    SaysNothing,
    /// Accepts, and closes.
    ClosesAtOnce,
    /// Answers everything with the status 500.
    Fails,
    /// Sends a good head, but so slowly that nobody sees its end.
    Dribbles,
    /// A head that has no end, as fast as it is read.
    EndlessHeaders,
    /// Sends everybody to another path.
    Redirects,
}

struct Shared {
    manner: Mutex<Manner>,
    engine: PathBuf,
    /// Connections, and further requests over them.
    requests: AtomicUsize,
    /// The agent's connections.
    open: Mutex<Vec<UnixStream>>,
}

/// A socket before an engine's.
pub struct Gate {
    peer: Peer,
    shared: Arc<Shared>,
}

impl Gate {
    /// Lets everything through to that engine, until it is [`Self::set`].
    pub fn before(engine: &Path) -> Self {
        let shared = Arc::new(Shared {
            manner: Mutex::new(Manner::LetsThrough),
            engine: engine.into(),
            requests: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        let peer = Peer::start(move |stream| {
            serving.requests.fetch_add(1, Ordering::SeqCst);
            serving.open().push(stream.try_clone()?);
            let manner = serving.manner();
            match manner {
                Manner::LetsThrough => serving.let_through(&stream),
                Manner::ClosesAtOnce => Ok(()),
                _ => serving.misbehave(stream, manner),
            }
        });
        Self { peer, shared }
    }

    /// The socket for the agent.
    pub fn path(&self) -> &Path {
        self.peer.path()
    }

    /// How many connections and further requests have come.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// From now on; what is open ends.
    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().unwrap_or_else(PoisonError::into_inner) = manner;
        for stream in self.shared.open().drain(..) {
            // It may be gone by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn manner(&self) -> Manner {
        *self.manner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> MutexGuard<'_, Vec<UnixStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_through(&self, agent: &UnixStream) -> io::Result<()> {
        let engine = UnixStream::connect(&self.engine)?;
        std::thread::scope(|scope| {
            scope.spawn(|| relay(agent, &engine));
            relay(&engine, agent);
        });
        Ok(())
    }

    fn misbehave(&self, mut stream: UnixStream, manner: Manner) -> io::Result<()> {
        let mut requests = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        for number in 0.. {
            line.clear();
            while requests.read_line(&mut line)? > 2 {
                line.clear();
            }
            if line.is_empty() {
                return Ok(());
            }
            self.requests.fetch_add(usize::from(number > 0), Ordering::SeqCst);
            match manner {
                Manner::Fails => stream.write_all(
                    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 21\r\n\r\n{\"message\":\"faulty\"}\n",
                )?,
                Manner::Redirects => {
                    stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")?
                }
                Manner::Dribbles => {
                    for byte in b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nX-Slow: "
                        .iter()
                        .chain([b'x'].iter().cycle())
                    {
                        stream.write_all(&[*byte])?;
                        sleep(Duration::from_millis(100));
                    }
                }
                Manner::EndlessHeaders => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
                    for number in 0.. {
                        stream.write_all(header(number).as_bytes())?;
                    }
                }
                Manner::SaysNothing | Manner::LetsThrough | Manner::ClosesAtOnce => {}
            }
        }
        Ok(())
    }
}

/// Until one of both ends; then both do.
fn relay(mut from: &UnixStream, mut to: &UnixStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}
