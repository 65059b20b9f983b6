//! The endpoints that the agent uses, and the version that it speaks.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::connection::Opener;
use super::decode::{Decoder, Transfer};
use super::error::EngineError;
use super::events::Events;
use super::log_stream::LogStream;
use super::pool::{Pool, Size};
use crate::record::{Container, ContainerId, Line, Time};
use crate::register::{Opening, Site};

/// The oldest API version that is spoken: the least that today's engines accept.
const OLDEST: ApiVersion = ApiVersion(1, 40);
/// The newest one that was read up on. A newer engine still serves it.
const NEWEST: ApiVersion = ApiVersion(1, 55);
/// Most that the answer to a short request may take: ten thousand containers' worth.
const ANSWER: usize = 64 << 20;

/// A version of the Engine API, as in `/v1.41/containers/json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(u16, u16);

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }

    /// What both sides speak, or why there is no such version.
    fn negotiate(engine: Option<&str>) -> Result<Self, EngineError> {
        let told = engine.ok_or_else(|| {
            EngineError::NoEngine("it answers /_ping without an Api-Version: not a container engine".to_owned())
        })?;
        let version = Self::parse(told)
            .ok_or_else(|| EngineError::NoEngine(format!("its Api-Version {told:?} is not a version")))?;
        if version < OLDEST {
            return Err(EngineError::NoEngine(format!(
                "its API {version} is older than {OLDEST}, the oldest that is supported"
            )));
        }
        Ok(version.min(NEWEST))
    }
}

/// The Docker Engine API, through the pool.
#[derive(Clone)]
pub struct Engine {
    pool: Pool,
    opener: Arc<Opener>,
    version: Arc<Mutex<Option<ApiVersion>>>,
}

/// Where a log stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Beginning,
    Time(Time),
    /// The last so many records of the log, of whatever time. The engine searches for a time from the log's first byte;
    /// for the last records it starts at the end.
    Tail(u32),
}

/// Where a log stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// With the container.
    Death,
    /// Where the log ends now.
    Now,
}

impl Until {
    fn query(self) -> &'static str {
        match self {
            Until::Death => "follow=1&",
            Until::Now => "",
        }
    }
}

impl Since {
    fn query(self) -> String {
        match self {
            Since::Beginning => String::new(),
            Since::Time(time) => format!("&since={}", time.as_since()),
            Since::Tail(records) => format!("&tail={records}"),
        }
    }
}

impl Engine {
    pub fn new(opener: Opener, size: Size) -> Self {
        let opener = Arc::new(opener);
        Self {
            pool: Pool::new(Arc::clone(&opener), size),
            opener,
            version: Arc::default(),
        }
    }

    /// As in `unix:///var/run/docker.sock`.
    pub fn host(&self) -> String {
        self.opener.host()
    }

    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Asks the engine who it is and agrees on a version. To be called again after every
    /// reconnect: it can be another engine by then.
    pub async fn ping(&self) -> Result<ApiVersion, EngineError> {
        let version = self
            .counted("ping", async {
                let answer = self.retried("ping", "/_ping").await?;
                let header = answer.headers.get("api-version");
                ApiVersion::negotiate(header.and_then(|value| value.to_str().ok()))
            })
            .await?;
        *self.version() = Some(version);
        Ok(version)
    }

    /// All containers, those that have ended too.
    pub async fn list(&self) -> Result<Vec<Listed>, EngineError> {
        let listed: Vec<Summary> = self.json("list", "/containers/json?all=1").await?;
        Ok(listed.into_iter().map(Listed::from).collect())
    }

    /// What the engine calls itself, as in `20.10.24`.
    pub async fn release(&self) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Version {
            version: String,
        }
        let Version { version } = self.json("version", "/version").await?;
        Ok(version)
    }

    /// The log driver of a container, as in `json-file`.
    pub async fn log_driver(&self, container: &ContainerId) -> Result<String, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            host_config: HostConfig,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct HostConfig {
            log_config: LogConfig,
        }
        #[derive(Deserialize)]
        struct LogConfig {
            #[serde(rename = "Type")]
            driver: String,
        }
        let inspected: Inspected = self.json("inspect", &format!("/containers/{container}/json")).await?;
        Ok(inspected.host_config.log_config.driver)
    }

    /// Subscribes to the containers' events, from `since` on.
    pub async fn events(&self, since: Option<Time>) -> Result<Events, EngineError> {
        let mut path = self
            .path(
                "/events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A\
             %5B%22start%22%2C%22die%22%2C%22destroy%22%2C%22rename%22%5D%7D",
            )
            .await?;
        if let Some(since) = since {
            path += &format!("&since={}", since.as_since());
        }
        let connection = self.opener.open(Opening {
            site: Site::Events,
            container: None,
        });
        let body = self.counted("events", async { connection.await?.stream(&path).await });
        Ok(Events::new(body.await?))
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
        let path = self
            .path(&format!(
                "/containers/{container}/logs?{}stdout=1&stderr=1&timestamps=1{}",
                until.query(),
                since.query()
            ))
            .await?;
        let body = self.counted("logs", async {
            let opened = self.opener.open(Opening {
                site,
                container: Some(container.clone()),
            });
            let opened = opened.await?;
            opened.raw(&path).await
        });
        Ok(LogStream::new(body.await?, max_line_bytes))
    }

    /// The time of the last record of a container's log; `None` where there is no record, or none that can be read. Over
    /// a connection of the pool: what it costs is one short request.
    pub async fn newest(&self, container: &ContainerId) -> Result<Option<Time>, EngineError> {
        let path = format!("/containers/{container}/logs?stdout=1&stderr=1&timestamps=1&tail=1");
        let path = self.path(&path).await?;
        let answer = self.counted("probe", self.retried("probe", &path)).await?;
        // The record can be a part of a long line: its text does not matter.
        let mut decoder = Decoder::new(Transfer::UntilClose, 0);
        let mut newest = None;
        let mut take = |line: Line<'_>| newest = Some(line.time);
        decoder.feed(&answer.body, &mut take)?;
        decoder.finish(&mut take)?;
        Ok(newest)
    }

    /// The path under the version that was agreed on.
    async fn path(&self, path: &str) -> Result<String, EngineError> {
        let known = *self.version();
        let version = match known {
            Some(version) => version,
            None => self.ping().await?,
        };
        Ok(format!("/v{version}{path}"))
    }

    async fn json<T: DeserializeOwned>(&self, endpoint: &'static str, path: &str) -> Result<T, EngineError> {
        let path = self.path(path).await?;
        let answer = self.counted(endpoint, self.retried(endpoint, &path)).await?;
        serde_json::from_slice(&answer.body).map_err(|source| EngineError::Json { endpoint, source })
    }

    /// A request that can be repeated: an idle connection may be closed by the peer just as
    /// it is taken (hyper#3553), so one failure before any answer is tried again, on another.
    async fn retried(&self, endpoint: &'static str, path: &str) -> Result<super::connection::Answer, EngineError> {
        let answer = match self.pool.lease().await?.get(endpoint, path, ANSWER).await {
            Err(EngineError::Closed) => self.pool.lease().await?.get(endpoint, path, ANSWER).await?,
            answer => answer?,
        };
        if answer.status != 200 {
            return Err(EngineError::Status {
                status: answer.status,
                message: super::connection::message(&answer.body),
            });
        }
        Ok(answer)
    }

    /// Counts a request's outcome and its time.
    async fn counted<T>(
        &self,
        endpoint: &'static str,
        request: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let began = Instant::now();
        let result = request.await;
        let metrics = &self.opener.metrics;
        let status = match &result {
            Ok(_) => Some(200),
            Err(error) => error.status(),
        };
        if let Some(status) = status {
            let status = status.to_string();
            metrics.requests.with_label_values(&[endpoint, &status]).inc();
        }
        match &result {
            Ok(_) => {
                let seconds = began.elapsed().as_secs_f64();
                let operation = metrics.operation_seconds.with_label_values(&[endpoint]);
                operation.observe(seconds);
            }
            Err(error) => {
                let reason = error.reason();
                metrics.errors.with_label_values(&[endpoint, reason]).inc();
                if error.engine_is_away() {
                    *self.version() = None;
                }
            }
        }
        result
    }

    fn version(&self) -> std::sync::MutexGuard<'_, Option<ApiVersion>> {
        self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is used of an entry of `/containers/json`. Our own, because a model that knows every
/// field refuses the engines that fill one of them otherwise.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    image: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    state: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    #[serde(default)]
    created: i64,
}

/// A container, and whether its log can get more lines before its next start.
#[derive(Clone, Debug)]
pub struct Listed {
    pub container: Container,
    pub running: bool,
    /// To the second.
    pub created: Time,
}

impl From<Summary> for Listed {
    fn from(summary: Summary) -> Self {
        let running = ["running", "paused", "restarting"].contains(&summary.state.as_str());
        let names = summary.names.unwrap_or_default();
        // A link's alias is /other/name; the container's own name has one slash.
        let own = names.iter().find(|name| name.matches('/').count() <= 1);
        let name = own.or(names.first()).map_or("", |name| name.trim_start_matches('/'));
        let container = Container {
            id: ContainerId::new(&summary.id),
            name: name.to_owned(),
            image: summary.image,
            labels: summary.labels.unwrap_or_default(),
        };
        Listed {
            container,
            running,
            created: Time(summary.created.saturating_mul(1_000_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_negotiated() {
        let negotiate = |text| ApiVersion::negotiate(text).map(|v| v.to_string());
        assert_eq!(negotiate(Some("1.41")).unwrap(), "1.41");
        assert_eq!(negotiate(Some("1.99")).unwrap(), NEWEST.to_string());
        assert_eq!(negotiate(Some("2.0")).unwrap(), NEWEST.to_string());
        for refused in [Some("1.39"), Some("one"), None] {
            assert!(negotiate(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn a_summary_is_read_leniently() {
        let text = r#"[{"Id":"ab","Names":["/x/alias","/web"],"Image":"nginx","Labels":null,"New":1,
                        "State":"running"}, {"Id":"cd","State":"exited"}]"#;
        let all: Vec<Summary> = serde_json::from_str(text).unwrap();
        let all: Vec<Listed> = all.into_iter().map(Listed::from).collect();
        assert_eq!(all[0].container.name, "web");
        assert_eq!(all[0].container.image, "nginx");
        assert!(all[0].running);
        assert_eq!(all[1].container.name, "");
        assert!(!all[1].running);
    }
}
