//! A stand-in for Loki. It decodes what it is sent by the published definitions, with code of its own, keeps Loki's limits, and
//! drops exact repeats as Loki does. It is no Loki: what it does not model, it does not show.

mod push;
mod snappy;

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};

pub use push::Entry;

/// Loki's own limits.
const LABELS: usize = 15;
const VALUE: usize = 2048;
const LINE: usize = 256 << 10;
const METADATA: usize = 128;
const BODY: usize = 4 << 20;
const OLDEST: Duration = Duration::from_secs(7 * 86_400);

/// How it misbehaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Nobody listens.
    Down,
    /// It takes its time before each answer.
    Slow(Duration),
    /// It takes nothing, and answers so: a status, and a header or nothing.
    Answer(u16, &'static str),
    /// It keeps what it is sent, and closes the connection instead of answering.
    CutAnswer,
    /// It closes the connection in the middle of what it is sent.
    CutBody,
    /// It refuses this line, keeps the others, and says so.
    Refuse(String),
    /// It refuses whoever does not show this as `Authorization`.
    Only(String),
    /// It refuses requests of more bytes.
    Largest(usize),
}

struct State {
    fault: Fault,
    entries: Vec<Entry>,
    seen: HashSet<Entry>,
    repeats: usize,
    requests: usize,
    tenants: HashSet<String>,
    /// What it was sent that Loki would refuse.
    complaints: Vec<String>,
    is_over: bool,
}

/// A server on loopback.
pub struct Loki {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Loki {
    /// One that listens, and is well.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on loopback");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            entries: Vec::new(),
            seen: HashSet::new(),
            repeats: 0,
            requests: 0,
            tenants: HashSet::new(),
            complaints: Vec::new(),
            is_over: false,
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || listen(listener, address, &shared));
        Self { address, state }
    }

    /// For the key `url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it misbehaves so.
    pub fn set(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// What it has kept, without exact repeats, in the order of its arrival.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.state).entries.clone()
    }

    /// The lines of one container, in the order of their arrival.
    pub fn lines(&self, container: &str) -> Vec<String> {
        let entries = self.entries();
        let of = entries
            .into_iter()
            .filter(|entry| entry.labels["container"] == container);
        of.map(|entry| entry.line).collect()
    }

    /// How many exact repeats it has dropped.
    pub fn repeats(&self) -> usize {
        lock(&self.state).repeats
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        lock(&self.state).requests
    }

    /// Every tenant that was named; empty for requests without one.
    pub fn tenants(&self) -> Vec<String> {
        lock(&self.state).tenants.iter().cloned().collect()
    }

    /// What Loki would have refused, although no fault was set.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.state).complaints.clone()
    }
}

impl Drop for Loki {
    fn drop(&mut self) {
        lock(&self.state).is_over = true;
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(listener: TcpListener, address: SocketAddr, state: &Arc<Mutex<State>>) {
    let mut listener = Some(listener);
    while !lock(state).is_over {
        if lock(state).fault == Fault::Down {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let accepted = listener.as_ref().and_then(|listener| {
            listener.set_nonblocking(true).ok()?;
            listener.accept().ok()
        });
        match accepted {
            Some((stream, _)) => {
                let state = Arc::clone(state);
                std::thread::spawn(move || serve(&stream, &state));
            }
            None => sleep(Duration::from_millis(5)),
        }
    }
}

/// Requests of one connection, until one of the two ends it.
fn serve(stream: &TcpStream, state: &Mutex<State>) {
    let _ = stream.set_nonblocking(false);
    let mut reader = BufReader::new(stream);
    while let Some(answer) = next(&mut reader, state) {
        if (&*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The answer to the next request. `None`: the connection is to be closed.
fn next(reader: &mut BufReader<&TcpStream>, state: &Mutex<State>) -> Option<String> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let is_it = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
        let found = head.iter().find(is_it)?;
        Some(found.split_once(':')?.1.trim().to_owned())
    };
    let length: usize = header("content-length")?.parse().ok()?;
    let fault = lock(state).fault.clone();
    if fault == Fault::CutBody {
        reader.read_exact(&mut vec![0; length / 2]).ok()?;
        return None;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    if let Fault::Slow(pause) = fault {
        sleep(pause);
    }
    // Whatever was said meanwhile counts: a store that has gone answers nobody.
    let mut state = lock(state);
    state.requests += 1;
    state.tenants.insert(header("x-scope-orgid").unwrap_or_default());
    let right = [
        header("content-type").as_deref() == Some("application/x-protobuf"),
        head.first()
            .is_some_and(|line| line.starts_with("POST /loki/api/v1/push ")),
        length <= BODY,
    ];
    if right != [true; 3] {
        state.complaints.push(format!("{head:?}"));
    }
    Some(match state.fault.clone() {
        Fault::Down => return None,
        Fault::CutAnswer => {
            state.keep(&body, None);
            return None;
        }
        Fault::Answer(status, header) => answer(status, header, "told to"),
        Fault::Only(shown) if header("authorization").as_deref() != Some(&shown) => answer(401, "", "no"),
        Fault::Largest(most) if body.len() > most => answer(413, "", "request entity too large"),
        Fault::Refuse(line) => state.keep(&body, Some(&line)),
        _ => state.keep(&body, None),
    })
}

fn answer(status: u16, header: &str, text: &str) -> String {
    let header = if header.is_empty() {
        String::new()
    } else {
        format!("{header}\r\n")
    };
    match status {
        204 => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 {status} Status\r\n{header}Content-Length: {}\r\n\r\n{text}",
            text.len()
        ),
    }
}

impl State {
    /// Keeps what Loki would, and answers as it would.
    fn keep(&mut self, body: &[u8], refused: Option<&str>) -> String {
        let entries = match snappy::decompress(body).and_then(|request| push::entries(&request)) {
            Ok(entries) => entries,
            Err(error) => {
                self.complaints.push(format!("{error:#}"));
                return answer(400, "", &format!("{error:#}"));
            }
        };
        let mut refusal = None;
        for entry in entries {
            if let Err(error) = is_within_limits(&entry) {
                self.complaints.push(format!("{error:#}"));
                refusal = Some(format!("{error:#}"));
            } else if refused == Some(entry.line.as_str()) {
                refusal = Some("has timestamp too new: 2027-01-01T00:00:00Z".to_owned());
            } else if self.seen.insert(entry.clone()) {
                self.entries.push(entry);
            } else {
                self.repeats += 1;
            }
        }
        refusal.map_or_else(|| answer(204, "", ""), |text| answer(400, "", &text))
    }
}

fn is_within_limits(entry: &Entry) -> anyhow::Result<()> {
    ensure!(
        (1..=LABELS).contains(&entry.labels.len()),
        "has {} label names; limit 15",
        entry.labels.len()
    );
    let longest = entry.labels.values().map(String::len).max();
    ensure!(longest <= Some(VALUE), "label value too long");
    ensure!(
        entry.line.len() <= LINE,
        "max entry size exceeded: {}",
        entry.line.len()
    );
    ensure!(entry.metadata.len() <= METADATA, "structured metadata too large");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("the clock")?;
    let age = now.as_nanos() as i64 - entry.nanos;
    ensure!(age < OLDEST.as_nanos() as i64, "has timestamp too old");
    Ok(())
}
