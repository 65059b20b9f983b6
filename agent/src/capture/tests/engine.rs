//! An engine in miniature, in the test's own runtime: its containers write, end and forget what a test says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One of its containers.
#[derive(Debug)]
struct Container {
    name: String,
    is_running: bool,
    /// The log's records: a time, and a text.
    log: Vec<(i64, String)>,
    /// Records before this one are deleted.
    first: usize,
    /// How many records each open follow brings once more, and how many there were by then.
    repeats: Vec<(usize, usize)>,
    /// How many follows are open.
    follows: Arc<AtomicUsize>,
    /// The queries of its log so far.
    asked: Vec<String>,
    labels: Vec<(String, String)>,
    /// Its image's tag is another image's by now.
    is_retagged: bool,
}

impl Container {
    fn labels(&self) -> serde_json::Value {
        let labels = self
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone().into()));
        serde_json::Value::Object(labels.collect())
    }
}

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, Container>,
    events: Vec<String>,
    /// Follows go on when their container has ended.
    never_ends: bool,
    /// The list is answered with an error.
    has_no_list: bool,
    /// How often the events were subscribed to.
    subscriptions: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    news: watch::Sender<()>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.news.send_replace(());
        result
    }
}

#[derive(Debug)]
pub(super) struct Engine {
    path: PathBuf,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

/// An id of 64 digits for a name.
pub(super) fn id(name: &str) -> String {
    let digits: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<64}")
}

impl Engine {
    pub(super) fn start() -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("engine-{}-{number}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            news: watch::Sender::new(()),
        });
        let mut serving = JoinSet::new();
        let accepted = Arc::clone(&shared);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let shared = Arc::clone(&accepted);
                connections.spawn(async move {
                    // The client may hang up whenever it likes.
                    let _ = serve(socket, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            path,
            shared,
            _serving: serving,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A container is created and started.
    pub(super) fn run(&self, name: &str) {
        self.run_with(name, &[]);
    }

    /// The same, with labels.
    pub(super) fn run_with(&self, name: &str, labels: &[(&str, &str)]) {
        self.make(name, labels, true);
        self.tell("start", name);
    }

    /// A container is created.
    pub(super) fn create(&self, name: &str) {
        self.make(name, &[], false);
        self.tell("create", name);
    }

    fn make(&self, name: &str, labels: &[(&str, &str)], is_running: bool) {
        let container = Container {
            name: name.to_owned(),
            is_running,
            log: Vec::new(),
            first: 0,
            repeats: Vec::new(),
            follows: Arc::default(),
            asked: Vec::new(),
            labels: labels
                .iter()
                .map(|&(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            is_retagged: false,
        };
        self.shared.change(|state| state.containers.insert(id(name), container));
    }

    /// A container writes a line.
    pub(super) fn write(&self, name: &str, time: i64, text: &str) {
        self.of(name, |container| container.log.push((time, text.to_owned())));
    }

    /// A log gets a record that the engine cannot decode: it sends an error and ends there.
    pub(super) fn spoil(&self, name: &str) {
        self.write(name, i64::MAX, SPOILT);
    }

    /// The last records of a log come once more over each open follow, as when Engine 20.10 begins a file.
    pub(super) fn repeat(&self, name: &str, records: usize) {
        self.of(name, |container| container.repeats.push((records, container.log.len())));
    }

    /// A log loses what it has so far.
    pub(super) fn truncate(&self, name: &str) {
        self.of(name, |container| container.first = container.log.len());
    }

    /// From now on follows go on when their container has ended.
    pub(super) fn never_end_follows(&self) {
        self.shared.change(|state| state.never_ends = true);
    }

    pub(super) fn die(&self, name: &str) {
        self.of(name, |container| container.is_running = false);
        self.tell("die", name);
    }

    pub(super) fn destroy(&self, name: &str) {
        self.shared.change(|state| state.containers.remove(&id(name)));
        self.tell("destroy", name);
    }

    /// A container that is known by `name` here has another name from now on.
    pub(super) fn rename(&self, name: &str, new: &str) {
        self.of(name, |container| container.name = new.to_owned());
        self.tell_of("rename", name, new);
    }

    /// The tag of a container's image is given to another image.
    pub(super) fn retag(&self, name: &str) {
        self.of(name, |container| container.is_retagged = true);
    }

    /// The list is answered with an error from now on, or is not.
    pub(super) fn has_no_list(&self, has_none: bool) {
        self.shared.change(|state| state.has_no_list = has_none);
    }

    /// How often the events were subscribed to.
    pub(super) fn subscriptions(&self) -> usize {
        self.shared.state().subscriptions
    }

    /// How many follows of a log are open.
    pub(super) fn follows(&self, name: &str) -> usize {
        let state = self.shared.state();
        let container = state.containers.get(&id(name));
        container.map_or(0, |container| container.follows.load(Ordering::Relaxed))
    }

    /// The queries for a log so far.
    pub(super) fn asked(&self, name: &str) -> Vec<String> {
        self.shared.state().containers[&id(name)].asked.clone()
    }

    fn of<T>(&self, name: &str, change: impl FnOnce(&mut Container) -> T) -> T {
        self.shared
            .change(|state| change(state.containers.get_mut(&id(name)).unwrap()))
    }

    fn tell(&self, action: &str, name: &str) {
        self.tell_of(action, name, name);
    }

    /// As the engine does: name and image stand where labels that are called so would.
    fn tell_of(&self, action: &str, name: &str, called: &str) {
        self.shared.change(|state| {
            let id = id(name);
            let number = state.events.len() as i64;
            let time = crate::record::Time::now().0 + number;
            state.events.push(format!(
                "{{\"Action\":\"{action}\",\"Actor\":{{\"ID\":\"{id}\",\"Attributes\":{{\"name\":\"{called}\",\
                 \"image\":\"image\"}}}},\"timeNano\":{time}}}\n"
            ));
        });
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n";
/// The text of a record that cannot be decoded.
const SPOILT: &str = "spoilt";
const LAST: &[u8] = b"0\r\n\r\n";

async fn serve(mut socket: UnixStream, shared: &Shared) -> std::io::Result<()> {
    let mut request = Vec::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            if socket.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        let target = text.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let log = path.strip_suffix("/logs").and_then(|path| path.rsplit('/').next());
        let Some(id) = log else {
            if path.ends_with("/events") {
                return events(socket, shared).await;
            }
            let (status, body) = short(&shared.state(), path);
            answer(&mut socket, status, &body).await?;
            continue;
        };
        let asked = shared.change(|state| {
            let container = state.containers.get_mut(id)?;
            container.asked.push(query.to_owned());
            Some(Reading::new(container, query))
        });
        let Some(mut reading) = asked else {
            answer(&mut socket, "404 Not Found", "{\"message\":\"no such container\"}").await?;
            continue;
        };
        socket.write_all(CHUNKED).await?;
        if query.contains("follow=1") {
            return follow(socket, shared, id, reading).await;
        }
        let chunks = shared
            .state()
            .containers
            .get(id)
            .map(|container| reading.next(container));
        socket.write_all(&chunks.unwrap_or_default()).await?;
        socket.write_all(LAST).await?;
    }
}

async fn answer(socket: &mut UnixStream, status: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nApi-Version: 1.41\r\nContent-Length: {length}\r\n\r\n");
    socket.write_all(head.as_bytes()).await?;
    socket.write_all(body.as_bytes()).await
}

/// The answer to a short request.
fn short(state: &State, path: &str) -> (&'static str, String) {
    if path.ends_with("/_ping") {
        return ("200 OK", "OK".to_owned());
    }
    if path.ends_with("/containers/json") {
        return if state.has_no_list {
            (
                "500 Internal Server Error",
                "{\"message\":\"content digest: not found\"}".to_owned(),
            )
        } else {
            ("200 OK", list(state))
        };
    }
    let id = path.trim_end_matches("/json").rsplit('/').next().unwrap_or_default();
    match state.containers.get(id) {
        Some(container) => {
            let labels = container.labels();
            let name = &container.name;
            let body = format!("{{\"Name\":\"/{name}\",\"Config\":{{\"Image\":\"image\",\"Labels\":{labels}}}}}");
            ("200 OK", body)
        }
        None => ("404 Not Found", "{\"message\":\"no such container\"}".to_owned()),
    }
}

fn list(state: &State) -> String {
    let entry = |(id, container): (&String, &Container)| {
        let status = if container.is_running { "running" } else { "exited" };
        let name = &container.name;
        let (image, labels) = (
            if container.is_retagged { "sha256:0f" } else { "image" },
            container.labels(),
        );
        format!(
            "{{\"Id\":\"{id}\",\"Names\":[\"/{name}\"],\"Image\":\"{image}\",\"State\":\"{status}\",\"Labels\":{labels}}}"
        )
    };
    let entries: Vec<_> = state.containers.iter().map(entry).collect();
    format!("[{}]", entries.join(","))
}

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// What a request reads of a log.
struct Reading {
    next: usize,
    /// Records before this time are left out: each of them, as Engine 20.10 does.
    since: i64,
    repeats: usize,
    /// It has come to a record that cannot be decoded.
    is_broken: bool,
}

impl Reading {
    fn new(container: &Container, query: &str) -> Self {
        let value = |key: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='))
        };
        let tail = value("tail").map_or(usize::MAX, |tail| tail.parse().unwrap());
        let since = value("since").map_or(i64::MIN, |since| since.replace('.', "").parse().unwrap());
        Self {
            next: container.first.max(container.log.len().saturating_sub(tail)),
            since,
            repeats: container.repeats.len(),
            is_broken: false,
        }
    }

    /// The chunks of all that there is by now.
    fn next(&mut self, container: &Container) -> Vec<u8> {
        let mut chunks = Vec::new();
        let is_broken = &mut self.is_broken;
        let mut send = |from: usize, to: usize| {
            for (time, text) in &container.log[from.max(container.first)..to.max(container.first)] {
                if *is_broken {
                    return;
                }
                if text == SPOILT {
                    *is_broken = true;
                    let error = b"Error grabbing logs: log message is too large\n";
                    let head = [&[3, 0, 0, 0], &(error.len() as u32).to_be_bytes()[..]].concat();
                    chunks.extend(chunk(&[&head, &error[..]].concat()));
                    return;
                }
                if *time >= self.since {
                    let time = jiff::Timestamp::from_nanosecond(i128::from(*time)).unwrap();
                    let line = format!("{time:.9} {text}\n");
                    let head = [&[1, 0, 0, 0], &(line.len() as u32).to_be_bytes()[..]].concat();
                    chunks.extend(chunk(&[&head, line.as_bytes()].concat()));
                }
            }
        };
        while let Some((records, at)) = container.repeats.get(self.repeats) {
            send(self.next, *at);
            send(at.saturating_sub(*records), *at);
            self.next = self.next.max(*at);
            self.repeats += 1;
        }
        send(self.next, container.log.len());
        self.next = container.log.len();
        chunks
    }
}

async fn follow(mut socket: UnixStream, shared: &Shared, id: &str, mut reading: Reading) -> std::io::Result<()> {
    let _open = shared
        .state()
        .containers
        .get(id)
        .map(|container| Open::new(&container.follows));
    let mut news = shared.news.subscribe();
    loop {
        let (chunks, is_over) = match shared.state().containers.get(id) {
            Some(container) => (reading.next(container), !container.is_running),
            None => (Vec::new(), true),
        };
        socket.write_all(&chunks).await?;
        if reading.is_broken || is_over && !shared.state().never_ends {
            return socket.write_all(LAST).await;
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = socket.read_u8() => return Ok(()),
        }
    }
}

/// An open follow.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(follows: &Arc<AtomicUsize>) -> Self {
        follows.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(follows))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn events(mut socket: UnixStream, shared: &Shared) -> std::io::Result<()> {
    shared.state().subscriptions += 1;
    socket.write_all(CHUNKED).await?;
    let mut news = shared.news.subscribe();
    let mut told = 0;
    loop {
        let events = shared.state().events[told..].concat();
        told = shared.state().events.len();
        if !events.is_empty() {
            socket.write_all(&chunk(events.as_bytes())).await?;
        }
        tokio::select! {
            _ = news.changed() => {}
            _ = socket.read_u8() => return Ok(()),
        }
    }
}
