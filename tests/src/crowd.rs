//! An engine that has very many containers: half of them it lists, the others start one after the other. Each has a line to
//! tell. On demand all are removed.

use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;

use crate::faults::{CHUNKED_HEAD, Peer, call, chunk, frame, request, respond, until_closed};

/// An engine that has many containers, of which none writes anything.
pub struct Crowd {
    peer: Peer,
    state: Arc<State>,
}

struct State {
    containers: usize,
    /// How many have been started by now.
    started: AtomicUsize,
    removed: AtomicBool,
    requests: AtomicUsize,
    /// Connections that are open now, and the most that were at a time.
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Crowd {
    /// With so many containers.
    pub fn start(containers: usize) -> Self {
        let state = Arc::new(State {
            containers,
            started: AtomicUsize::new(0),
            removed: AtomicBool::new(false),
            requests: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let peer = Peer::start(move |stream| {
            let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
            shared.most_open.fetch_max(open, Ordering::SeqCst);
            let served = serve(stream, &shared);
            shared.open.fetch_sub(1, Ordering::SeqCst);
            served
        });
        Self { peer, state }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        self.peer.path()
    }

    /// How many requests have come.
    pub fn requests(&self) -> usize {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// The most connections that were open at a time.
    pub fn most_open(&self) -> usize {
        self.state.most_open.load(Ordering::SeqCst)
    }

    /// From now on it has no container.
    pub fn remove_all(&self) {
        self.state.removed.store(true, Ordering::SeqCst);
    }
}

fn serve(mut stream: UnixStream, state: &State) -> io::Result<()> {
    let mut requests = BufReader::new(stream.try_clone()?);
    while let Some((method, path)) = request(&mut requests)? {
        state.requests.fetch_add(1, Ordering::SeqCst);
        let call = call(&path);
        if call == "events" {
            return events(stream, state);
        }
        if call.ends_with("/logs") && state.removed.load(Ordering::SeqCst) {
            let body = json!({"message": "No such container"}).to_string();
            let head = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes())?;
            continue;
        }
        if call.ends_with("/logs") {
            stream.write_all(CHUNKED_HEAD)?;
            chunk(&mut stream, &frame(format!("{call}\n").as_bytes()))?;
            until_closed_or(&stream, &state.removed)?;
            return stream.write_all(b"0\r\n\r\n");
        }
        let body = match call {
            "_ping" => "OK".to_owned(),
            "containers/json" => list(state),
            _ => json!({"message": "not asked for by an agent that has so many"}).to_string(),
        };
        respond(&mut stream, &method, &body)?;
    }
    Ok(())
}

fn until_closed_or(mut stream: &UnixStream, over: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    while !over.load(Ordering::SeqCst) {
        match stream.read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            ended => return ended.map(drop),
        }
    }
    Ok(())
}

fn id(number: usize) -> String {
    format!("{number:064x}")
}

fn list(state: &State) -> String {
    let listed = if state.removed.load(Ordering::SeqCst) {
        0
    } else {
        state.containers / 2 + state.started.load(Ordering::SeqCst)
    };
    let name = |number| {
        let kind = if number < state.containers / 2 {
            "listed"
        } else {
            "started"
        };
        format!("/{kind}-{number}")
    };
    let container = |number| {
        json!({
            "Id": id(number), "Names": [name(number)], "Image": "crowd:1", "ImageID": "sha256:0",
            "Command": "", "Created": 1_700_000_000, "State": "running", "Status": "Up 1 second",
            "Labels": {"com.docker.compose.project": "crowd"}, "Ports": [],
        })
    };
    json!((0..listed).map(container).collect::<Vec<_>>()).to_string()
}

fn events(mut stream: UnixStream, state: &State) -> io::Result<()> {
    stream.write_all(CHUNKED_HEAD)?;
    let mut time = 1_795_187_098_000_000_000_i64;
    let mut tell = |action, number| {
        time += 1;
        let attributes = json!({"name": format!("started-{number}"), "image": "crowd:1"});
        let actor = json!({"ID": id(number), "Attributes": attributes});
        let event = json!({"Type": "container", "Action": action, "Actor": actor, "timeNano": time});
        chunk(&mut stream, format!("{event}\n").as_bytes())
    };
    for number in state.containers / 2..state.containers {
        state.started.fetch_add(1, Ordering::SeqCst);
        tell("start", number)?;
    }
    while !state.removed.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(20));
    }
    for number in 0..state.containers {
        tell("die", number)?;
        tell("destroy", number)?;
    }
    until_closed(&stream)
}
