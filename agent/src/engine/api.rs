//! The endpoints that the agent uses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{MissedTickBehavior, interval};

use super::error::EngineError;
use super::events::Events;
use super::guard::{Health, Verdict};
use super::inspected::{self, Inspected};
use super::listed::List;
use super::log_stream::LogStream;
use super::options::Options;
use super::pool::{Pool, VERSION};
use super::requests::Requests;
use super::shorten::{Limit, elements};
use super::transport::Opener;
use super::version::ApiVersion;
use crate::decode::{Decoder, Transfer};
use crate::record::{ContainerId, Line, Since, Time, Until};
use crate::register::{Opening, Purpose, Site};

/// How often the pool is looked at.
const TEND: Duration = Duration::from_secs(1);
/// Most that the answer to a short request may take: ten thousand containers' worth.
const ANSWER: Limit = Limit {
    time: None,
    text: 64 << 20,
    // The labels of one container. A record has at most 16 KiB of them.
    value: Some(256 << 10),
};
/// "OK", or why not.
const PONG: Limit = whole(64 << 10);
/// Most that one record of a log may take: the engine's are parts of 16 KiB. It comes within a millisecond, or never.
const RECORD: Limit = Limit {
    time: Some(Duration::from_secs(1)),
    ..whole(1 << 20)
};
/// Entries of a list that are read before others have their turn.
const TURN: usize = 64;

const fn whole(text: usize) -> Limit {
    Limit {
        time: None,
        text,
        value: None,
    }
}

/// The Docker Engine API, through the pool.
#[derive(Clone)]
pub struct Engine {
    requests: Arc<Requests>,
    peer: Arc<Mutex<Option<Peer>>>,
}

/// The last record of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// It is of this time.
    Record(Time),
    /// There is none, or none that can be read.
    Nothing,
    /// The engine has begun to answer and goes on looking for it: Engine 26 and newer search a `json-file` for ever that is
    /// shorter than they have written it (portainer#12984).
    Endless,
}

/// Who answers, as far as what is asked depends on it.
#[derive(Clone, Copy)]
struct Peer {
    version: ApiVersion,
    is_podman: bool,
}

impl Peer {
    /// Whether it is asked for a time where others are asked for the last records.
    fn goes_by_time(self, until: Until) -> bool {
        self.is_podman && matches!(until, Until::Death)
    }

    /// The path under the version that was agreed on.
    fn path(self, path: &str) -> String {
        format!("/v{}{path}", self.version)
    }
}

/// The query parameter that ends a log stream where it is wanted to end.
fn until_query(until: Until) -> &'static str {
    match until {
        Until::Death => "follow=1&",
        Until::Now => "",
    }
}

/// The query parameter that begins a log stream where it is wanted to begin.
///
/// Podman is asked for a time in place of the last records: following, it reads the last records, then goes to where the
/// file ends by then, and what was written in between is lost (seen with 4.3 at each open of a busy log).
fn since_query(since: Since, until: Until, peer: Peer) -> String {
    match since {
        Since::Beginning => String::new(),
        Since::Tail { records, .. } if !peer.goes_by_time(until) => format!("&tail={records}"),
        Since::Time(time) | Since::Tail { or_since: time, .. } => format!("&since={}", time.as_since()),
    }
}

impl Engine {
    /// A client that has not connected yet.
    pub fn new(opener: Opener, options: Options) -> Self {
        Self {
            requests: Arc::new(Requests::new(opener, options)),
            peer: Arc::default(),
        }
    }

    /// As in `unix:///var/run/docker.sock`.
    pub fn host(&self) -> &str {
        self.requests.host()
    }

    /// Waits until no socket is open that is not a connection of the agent's own: looking up a name takes some.
    pub async fn at_rest(&self) {
        self.requests.at_rest().await;
    }

    /// The connections for short requests.
    pub fn pool(&self) -> &Pool {
        self.requests.pool()
    }

    fn health(&self) -> &Arc<Health> {
        self.requests.health()
    }

    /// How well the engine is, each time that something was heard of it.
    pub fn verdicts(&self) -> watch::Receiver<Verdict> {
        self.health().verdicts()
    }

    /// The agent is about to stop.
    pub fn leave(&self) {
        self.health().leave();
    }

    /// Keeps the pool as it shall be, for ever: closes and opens connections, and pings those that are idle.
    pub async fn tend(self) {
        let mut checks = JoinSet::new();
        let mut filling = JoinSet::new();
        let mut look = interval(TEND);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.pool().reap();
            for check in self.pool().due() {
                let requests = Arc::clone(&self.requests);
                checks.spawn(async move { requests.check(check).await });
            }
            while checks.try_join_next().is_some() {}
            // A connect may have to wait, and what is due meanwhile shall not.
            if filling.try_join_next().is_some() || filling.is_empty() {
                let requests = Arc::clone(&self.requests);
                filling.spawn(async move { requests.fill().await });
            }
        }
    }

    /// Waits until the engine answers after it did not.
    pub async fn answering_again(&self) {
        self.health().answering_again().await;
    }

    /// When a request that would be refused now would be let through; `None` where none is refused.
    pub fn refuses_for(&self) -> Option<Duration> {
        self.requests.refuses_for()
    }

    /// Asks the engine who it is and agrees on a version. To be called again after every
    /// reconnect: it can be another engine by then.
    pub async fn ping(&self) -> Result<ApiVersion, EngineError> {
        Ok(self.meet().await?.version)
    }

    async fn meet(&self) -> Result<Peer, EngineError> {
        let began = Instant::now();
        let met = match self.meet_by_ping().await {
            Err(ping) if may_be_a_proxys(&ping) => {
                let met = self.meet_by_version().await.map_err(|version| match version {
                    version if version.engine_is_away() => version,
                    version => EngineError::NoVersion {
                        ping: ping.into(),
                        version: version.into(),
                    },
                });
                self.pool().can_ping(met.is_err());
                met
            }
            met => {
                self.pool().can_ping(true);
                met
            }
        };
        self.health().pinged(match &met {
            Ok(_) => Ok(began.elapsed()),
            Err(_) => Err(()),
        });
        let peer = self.known(met)?;
        *self.known_peer() = Some(peer);
        Ok(peer)
    }

    async fn meet_by_ping(&self) -> Result<Peer, EngineError> {
        let answer = self.requests.short(Purpose::Control, "ping", "/_ping", PONG).await?;
        let header = answer.headers.get("api-version");
        Ok(Peer {
            version: ApiVersion::negotiate(header.and_then(|value| value.to_str().ok()))?,
            is_podman: answer.headers.contains_key("libpod-api-version"),
        })
    }

    /// Where a proxy forbids `/_ping`, or takes the version out of its answer.
    async fn meet_by_version(&self) -> Result<Peer, EngineError> {
        let version = self.version(VERSION).await?;
        let is_podman = version.components.unwrap_or_default();
        Ok(Peer {
            version: ApiVersion::negotiate(version.api_version.as_deref())?,
            is_podman: is_podman.iter().any(|component| component.name.contains("Podman")),
        })
    }

    async fn version(&self, path: &str) -> Result<Version, EngineError> {
        let answer = self.requests.short(Purpose::Control, "version", path, PONG).await;
        parsed("version", &self.known(answer)?.body)
    }

    /// All containers, those that have ended too.
    pub async fn list(&self) -> Result<List, EngineError> {
        let began = Instant::now();
        let listed = self.read_list().await;
        self.health().listed(match &listed {
            Ok(_) => Ok(began.elapsed()),
            Err(_) => Err(()),
        });
        listed
    }

    async fn read_list(&self) -> Result<List, EngineError> {
        let endpoint = "list";
        let path = self.peer().await?.path("/containers/json?all=1");
        let answer = self.known(self.requests.short(Purpose::Control, endpoint, &path, ANSWER).await)?;
        let Some(entries) = elements(&answer.body) else {
            return parsed::<Vec<()>>(endpoint, &answer.body).map(|_| List::default());
        };
        let mut list = List::default();
        for (number, entry) in entries.enumerate() {
            list.add(entry);
            // Ten thousand entries take long enough that lines would wait.
            if number % TURN == TURN - 1 {
                yield_now().await;
            }
        }
        Ok(list)
    }

    /// A container, as it was created.
    pub async fn inspect(&self, container: &ContainerId) -> Result<Inspected, EngineError> {
        let answer: inspected::Answer = self.json("inspect", &format!("/containers/{container}/json")).await?;
        Ok(answer.into())
    }

    /// Where the engine keeps its containers, as it sees its own file system (`DockerRootDir`).
    pub async fn data_root(&self) -> Result<PathBuf, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            docker_root_dir: PathBuf,
        }
        let Info { docker_root_dir } = self.json("info", "/info").await?;
        Ok(docker_root_dir)
    }

    /// The name of the machine that the engine runs on.
    pub async fn name(&self) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            name: String,
        }
        let Info { name } = self.json("info", "/info").await?;
        Ok(name)
    }

    /// What the engine calls itself, as in `20.10.24`.
    pub async fn release(&self) -> Result<String, EngineError> {
        let path = self.peer().await?.path(VERSION);
        Ok(self.version(&path).await?.version)
    }

    /// Subscribes to the containers' events, from `since` on.
    pub async fn events(&self, since: Option<Time>) -> Result<Events, EngineError> {
        // What an engine calls otherwise it does not send: `died` and `remove` are Podman's.
        let mut path = self.peer().await?.path(
            "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A\
             %5B%22create%22%2C%22start%22%2C%22die%22%2C%22died%22%2C%22destroy%22%2C%22remove%22%2C%22rename%22%5D%7D",
        );
        if let Some(since) = since {
            path += &format!("&since={}", since.as_since());
        }
        let opening = Opening {
            site: Site::Events,
            container: None,
        };
        let body = self
            .requests
            .long("events", opening, &path, |connection| connection.stream(&path));
        Ok(Events::new(self.known(body.await)?, Arc::clone(self.health())))
    }

    /// Opens a container's log.
    pub async fn logs(
        &self,
        container: &ContainerId,
        site: Site,
        since: Since,
        until: Until,
        max_line_bytes: usize,
    ) -> Result<LogStream, EngineError> {
        let peer = self.peer().await?;
        let path = peer.path(&format!(
            "/containers/{container}/logs?{}stdout=1&stderr=1&timestamps=1{}",
            until_query(until),
            since_query(since, until, peer)
        ));
        let opening = Opening {
            site,
            container: Some(container.clone()),
        };
        let body = self
            .requests
            .long("logs", opening, &path, |connection| connection.raw(&path));
        Ok(LogStream::new(self.known(body.await)?, max_line_bytes))
    }

    /// Whether a log that is followed is asked for a time where others are asked for the last records.
    pub async fn follows_by_time(&self) -> Result<bool, EngineError> {
        Ok(self.peer().await?.goes_by_time(Until::Death))
    }

    /// What the last record of a container's log is. Over a connection of the pool: what it costs is one short request.
    pub async fn newest(&self, container: &ContainerId) -> Result<Newest, EngineError> {
        let path = format!("/containers/{container}/logs?stdout=1&stderr=1&timestamps=1&tail=1");
        let path = self.peer().await?.path(&path);
        let answer = match self.requests.short(Purpose::Logs, "probe", &path, RECORD).await {
            // Closing the connection ends the engine's search.
            Err(EngineError::Transport(error)) if error.is_of_the_body() => return Ok(Newest::Endless),
            answer => self.known(answer)?,
        };
        // The record can be a part of a long line: its text does not matter.
        let mut decoder = Decoder::new(Transfer::UntilClose, 0);
        let mut newest = None;
        let mut take = |line: Line<'_>| newest = Some(line.time);
        decoder.feed(&answer.body, &mut take)?;
        decoder.finish(&mut take)?;
        Ok(newest.map_or(Newest::Nothing, Newest::Record))
    }

    /// Who answers: asked for where that is not known.
    async fn peer(&self) -> Result<Peer, EngineError> {
        let known = *self.known_peer();
        match known {
            Some(peer) => Ok(peer),
            None => self.meet().await,
        }
    }

    async fn json<T: DeserializeOwned>(&self, endpoint: &'static str, path: &str) -> Result<T, EngineError> {
        let path = self.peer().await?.path(path);
        let answer = self.known(self.requests.short(Purpose::Control, endpoint, &path, ANSWER).await)?;
        parsed(endpoint, &answer.body)
    }

    /// Another engine may answer after this, so its name and version are asked for again.
    fn known<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        result.inspect_err(|error| {
            // Nothing new is known of one that was not asked.
            if error.engine_is_away() && !error.is_of_breaker() {
                *self.known_peer() = None;
            }
        })
    }

    fn known_peer(&self) -> MutexGuard<'_, Option<Peer>> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer to `/version`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    #[serde(default)]
    version: String,
    api_version: Option<String>,
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
struct Component {
    #[serde(rename = "Name", default)]
    name: String,
}

/// Whether a ping failed in a way that a proxy's rules explain: something answers, and it is not in trouble.
fn may_be_a_proxys(error: &EngineError) -> bool {
    match error {
        EngineError::Status { status, .. } => matches!(status, 400..=499 | 501),
        EngineError::NoEngine(_) => true,
        _ => false,
    }
}

fn parsed<T: DeserializeOwned>(endpoint: &'static str, body: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(body).map_err(|source| EngineError::Json { endpoint, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn podman_is_asked_for_a_time_where_it_is_to_follow() {
        let peer = |is_podman| Peer {
            version: ApiVersion::negotiate(Some("1.41")).unwrap(),
            is_podman,
        };
        let tail = Since::Tail {
            records: 2_000,
            or_since: Time(1_795_628_471_250_000_000),
        };
        for until in [Until::Death, Until::Now] {
            assert_eq!(since_query(tail, until, peer(false)), "&tail=2000");
        }
        assert_eq!(
            since_query(tail, Until::Death, peer(true)),
            "&since=1795628471.250000000"
        );
        assert_eq!(since_query(tail, Until::Now, peer(true)), "&tail=2000");
    }
}
