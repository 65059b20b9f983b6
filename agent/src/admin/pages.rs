//! The pages, each made anew for each request.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::StatusCode;
use prometheus::{Encoder, Registry, TextEncoder};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::account::AccountPage;
use super::fds::{FdsPage, GrowingRow};
use super::metrics::Metrics;
use crate::audit::{Leak, Leaks, opening};
use crate::engine::Engine;
use crate::kernel::{Kernel, Snapshot};
use crate::readiness::Readiness;
use crate::register::{Held, Register};

/// Everything that the pages show.
pub struct Pages {
    /// What `/metrics` shows.
    pub registry: Registry,
    /// Updated before each answer to `/metrics`, as is `kernel_metrics`.
    pub metrics: Metrics,
    /// What `/readyz` shows.
    pub readiness: Readiness,
    /// What the agent believes of its connections.
    pub register: Register,
    /// The client whose pool is shown.
    pub engine: Engine,
    /// The attached kernel part, if there is one.
    pub kernel: Option<Arc<Kernel>>,
    /// What the last scan for leaks has found.
    pub leaks: Leaks,
    /// See `metrics`.
    pub kernel_metrics: crate::kernel::Metrics,
    /// Held while `/metrics` is written down.
    pub scrapes: tokio::sync::Mutex<()>,
    /// What was read, and what has become of it.
    pub account: Box<dyn Fn() -> AccountPage + Send + Sync>,
    /// Brings up to date what other parts show.
    pub refresh: Box<dyn Fn() + Send + Sync>,
}

pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl Page {
    pub(super) fn text(status: StatusCode, text: &str) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: text.as_bytes().to_vec(),
        }
    }

    fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec_pretty(value) {
            Ok(mut body) => {
                body.push(b'\n');
                Self {
                    status,
                    content_type: JSON,
                    body,
                }
            }
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

/// `/connections`: what the kernel holds, with what the register knows of it.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionsPage {
    /// The tier that the states come from; `none` where they are only the register's belief.
    pub kernel: String,
    /// Every connection that the kernel holds, and then those that only the register knows.
    pub connections: Vec<ConnectionRow>,
}

/// One connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct ConnectionRow {
    /// The inode of its socket, as in `socket:[inode]` of `/proc/PID/fd`.
    pub inode: u64,
    /// Its descriptor, the lowest if there are several.
    pub fd: i32,
    /// How many descriptors lead to it; absent if only the register knows it.
    pub descriptors: Option<u32>,
    /// Where it leads, as `ss` shows it; absent if only the register knows it.
    pub peer: Option<String>,
    /// Absent where the register knows nothing of it: nobody owns that connection.
    pub purpose: Option<String>,
    /// For which it was opened, and by which function.
    pub container: Option<String>,
    /// The name of the call that opened it, see [`crate::register::Site`].
    pub opened_by: Option<String>,
    /// How long ago it was opened.
    pub age_seconds: f64,
    /// `established`, `half_closed` or `peer_gone`; `unknown` if only the register knows it.
    pub state: String,
    /// How long ago the peer was seen to have ended its side.
    pub half_closed_seconds: Option<f64>,
}

/// `/leaks`: what was leaked at the last scan, and why.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeaksPage {
    /// The tier that watches; `none` where nothing can be said.
    pub kernel: String,
    /// The age of that scan; absent before the first.
    pub scanned_seconds_ago: Option<f64>,
    /// Every leak.
    pub leaks: Vec<LeakRow>,
    /// Kinds of descriptors that only ever grow.
    pub growing: Vec<GrowingRow>,
}

/// One leaked connection.
#[derive(Debug, Serialize, Deserialize)]
pub struct LeakRow {
    /// The inode of its socket, as in `socket:[inode]` of `/proc/PID/fd`.
    pub inode: u64,
    /// Its descriptor, the lowest if there are several.
    pub fd: i32,
    /// How many descriptors lead to it.
    pub descriptors: u32,
    /// Where it leads, as `ss` shows it.
    pub peer: String,
    /// Why it is a leak, see [`crate::audit::Reason`].
    pub reason: String,
    /// How long it has looked leaked.
    pub leaked_seconds: f64,
    /// How long ago it was opened.
    pub age_seconds: f64,
    /// `established`, `half_closed` or `peer_gone`.
    pub state: String,
    /// What it was for; absent if that is not known.
    pub purpose: Option<String>,
    /// The name of the call that opened it; absent if that is not known.
    pub opened_by: Option<String>,
    /// The container that it was for, if it was for one.
    pub container: Option<String>,
}

impl From<Leak> for LeakRow {
    fn from(leak: Leak) -> Self {
        let Leak {
            connection,
            reason,
            since,
            opening,
        } = leak;
        let site = opening.as_ref().map(|opening| opening.site);
        Self {
            inode: connection.inode,
            fd: connection.fd,
            descriptors: connection.descriptors,
            peer: connection.peer,
            reason: reason.as_str().to_owned(),
            leaked_seconds: since.elapsed().as_secs_f64(),
            age_seconds: connection.age.as_secs_f64(),
            state: connection.state.as_str().to_owned(),
            purpose: site.map(|site| site.purpose().as_str().to_owned()),
            opened_by: site.map(|site| site.as_str().to_owned()),
            container: opening.and_then(|opening| opening.container).map(|id| id.to_string()),
        }
    }
}

/// All metrics, in the text format of Prometheus.
fn exposition(registry: &Registry) -> Result<Vec<u8>, String> {
    let mut families = registry.gather();
    // The process collector keeps to its own names, without our prefix.
    families.extend(prometheus::gather());
    let mut body = Vec::new();
    let encoded = TextEncoder::new().encode(&families, &mut body);
    encoded.map(|()| body).map_err(|error| error.to_string())
}

impl Pages {
    /// The page at a path. An unknown path is answered with 404 and a list of the pages.
    pub(super) async fn get(self: Arc<Self>, path: &str) -> Page {
        match path {
            "/metrics" => self.metrics().await,
            "/healthz" => Page::text(StatusCode::OK, "ok\n"),
            "/readyz" => self.readyz(),
            "/connections" => Page::json(StatusCode::OK, &self.connections()),
            "/leaks" => Page::json(StatusCode::OK, &self.leaks()),
            "/fds" => Page::json(StatusCode::OK, &self.fds()),
            "/account" => self.account().await,
            "/" => Page::text(
                StatusCode::OK,
                "/metrics\n/healthz\n/readyz\n/connections\n/leaks\n/fds\n/account\n",
            ),
            _ => Page::text(
                StatusCode::NOT_FOUND,
                "there are /metrics /healthz /readyz /connections /leaks /fds /account\n",
            ),
        }
    }

    /// The series of hundreds of containers take long to write down, and lines would wait: another thread does it, for
    /// one client at a time.
    async fn metrics(self: Arc<Self>) -> Page {
        self.engine.pool().observe();
        self.metrics.observe();
        (self.refresh)();
        if let Some(snapshot) = self.snapshot() {
            self.kernel_metrics.show(&snapshot);
        }
        let _turn = self.scrapes.lock().await;
        let registry = self.registry.clone();
        let written = spawn_blocking(move || exposition(&registry)).await;
        match written.map_err(|error| error.to_string()) {
            Ok(Ok(body)) => Page {
                status: StatusCode::OK,
                content_type: "text/plain; version=0.0.4",
                body,
            },
            Ok(Err(error)) | Err(error) => Page::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }

    /// With thousands of containers it is long: another thread writes it down, for one client at a time.
    async fn account(&self) -> Page {
        let _turn = self.scrapes.lock().await;
        let page = (self.account)();
        let written = spawn_blocking(move || Page::json(StatusCode::OK, &page)).await;
        written.unwrap_or_else(|error| Page::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")))
    }

    fn readyz(&self) -> Page {
        #[derive(Serialize)]
        struct Readyz<'a> {
            ready: bool,
            parts: &'a std::collections::BTreeMap<String, crate::readiness::Status>,
        }
        let parts = &self.readiness.snapshot();
        let ready = parts.values().all(|part| part.ready);
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Page::json(status, &Readyz { ready, parts })
    }

    fn connections(&self) -> ConnectionsPage {
        let mut believed: HashMap<u64, Held> = self
            .register
            .snapshot()
            .into_iter()
            .map(|held| (held.inode, held))
            .collect();
        let snapshot = self.snapshot();
        let mut rows: Vec<ConnectionRow> = Vec::new();
        let kernel = match (&self.kernel, snapshot) {
            (Some(kernel), Some(snapshot)) => {
                for connection in snapshot.connections {
                    let held = believed.remove(&connection.inode);
                    let purpose = held.as_ref().map(|held| held.opening.site.purpose());
                    let opening = held.map(|held| held.opening).or_else(|| opening(&connection.mark));
                    rows.push(ConnectionRow {
                        inode: connection.inode,
                        fd: connection.fd,
                        descriptors: Some(connection.descriptors),
                        peer: Some(connection.peer),
                        purpose: purpose.map(|purpose| purpose.as_str().to_owned()),
                        opened_by: opening.as_ref().map(|opening| opening.site.as_str().to_owned()),
                        container: opening.and_then(|opening| opening.container).map(|id| id.to_string()),
                        age_seconds: connection.age.as_secs_f64(),
                        state: connection.state.as_str().to_owned(),
                        half_closed_seconds: connection.ended.map(|ended| ended.as_secs_f64()),
                    });
                }
                kernel.tier().as_str()
            }
            _ => "none",
        };
        // What only the register knows: all of it where there is no kernel part.
        rows.extend(believed.into_values().map(|held| ConnectionRow {
            inode: held.inode,
            fd: held.fd,
            descriptors: None,
            peer: None,
            purpose: Some(held.opening.site.purpose().as_str().to_owned()),
            opened_by: Some(held.opening.site.as_str().to_owned()),
            container: held.opening.container.map(|id| id.to_string()),
            age_seconds: held.opened.elapsed().as_secs_f64(),
            state: "unknown".to_owned(),
            half_closed_seconds: None,
        }));
        rows.sort_by_key(|row| row.inode);
        ConnectionsPage {
            kernel: kernel.to_owned(),
            connections: rows,
        }
    }

    fn leaks(&self) -> LeaksPage {
        let found = self.leaks.now();
        LeaksPage {
            kernel: self
                .kernel
                .as_ref()
                .map_or("none", |kernel| kernel.tier().as_str())
                .to_owned(),
            scanned_seconds_ago: found.at.map(|at| at.elapsed().as_secs_f64()),
            leaks: found.leaks.into_iter().map(LeakRow::from).collect(),
            growing: found.growing.iter().map(GrowingRow::from).collect(),
        }
    }

    fn fds(&self) -> FdsPage {
        let Some(kernel) = &self.kernel else {
            return FdsPage::none();
        };
        let found = &self.leaks.now();
        match kernel.compare() {
            Ok(Some(comparison)) => return FdsPage::compared(kernel.tier(), &comparison, found),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot compare the ledger of descriptors with its witnesses"),
        }
        match self.snapshot() {
            Some(snapshot) => FdsPage::counted(kernel.tier(), &snapshot.fds, found),
            None => FdsPage::none(),
        }
    }

    fn snapshot(&self) -> Option<Snapshot> {
        match self.kernel.as_ref()?.snapshot() {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::warn!(%error, "cannot read the kernel's ledger");
                None
            }
        }
    }
}
