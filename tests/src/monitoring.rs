//! A real Prometheus and a real Alertmanager with the rules of `deploy/observability`, and whom they tell of alerts.

mod webhook;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::admin::reserve_port;
use crate::wait::{self, PATIENCE};
use webhook::Webhook;
pub use webhook::{Notice, Status};

const RULES: &str = include_str!("../../deploy/observability/alerts.yaml");
const PROMETHEUS: &str = include_str!("../../deploy/observability/prometheus.yaml");
/// The programs, by Debian's names.
pub const PROGRAMS: [&str; 2] = ["prometheus", "prometheus-alertmanager"];

/// Both, for one agent. Dropping it kills them.
pub struct Monitoring {
    prometheus: Child,
    alertmanager: Child,
    address: SocketAddr,
    told: Webhook,
    _reserved: [OwnedFd; 2],
    _folder: TempDir,
}

impl Monitoring {
    /// Starts them, and returns when Prometheus has seen the agent at this address.
    pub fn of(agent: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        let told = Webhook::start();
        let (kept, address) = reserve_port().expect("a port for Prometheus");
        let (also_kept, alertmanager) = reserve_port().expect("a port for Alertmanager");
        let write = |name: &str, text: String| fs::write(folder.path().join(name), text).expect("write a file");
        write("alerts.yaml", soon(RULES));
        write("prometheus.yaml", scraping(agent, alertmanager));
        write("alertmanager.yaml", telling(&told));
        let monitoring = Self {
            alertmanager: start(
                folder.path(),
                PROGRAMS[1],
                &[
                    "--config.file=alertmanager.yaml",
                    "--storage.path=told",
                    // One by itself: it looks for no others.
                    "--cluster.listen-address=",
                ],
                alertmanager,
            ),
            prometheus: start(
                folder.path(),
                PROGRAMS[0],
                &["--config.file=prometheus.yaml", "--storage.tsdb.path=series"],
                address,
            ),
            address,
            told,
            _reserved: [kept, also_kept],
            _folder: folder,
        };
        wait::until("Prometheus to have seen the agent", PATIENCE, || {
            (monitoring.value("up") == Some(1.0)).then_some(())
        });
        monitoring
    }

    /// The only value that a query gives now.
    pub fn value(&self, query: &str) -> Option<f64> {
        let mut answer = ureq::get(format!("http://{}/api/v1/query", self.address))
            .query("query", query)
            .call()
            .ok()?;
        let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Until it has been told that an alert of this name fires, or is over.
    pub fn wait_told(&self, alert: &str, status: Status) -> Notice {
        let what = format!("to be told of {alert}: {status:?}");
        wait::until(&what, PATIENCE, || {
            self.told(alert).pop().filter(|notice| notice.status == status)
        })
    }

    /// All that was told of an alert of this name.
    pub fn told(&self, alert: &str) -> Vec<Notice> {
        let mut notices = self.told.notices();
        notices.retain(|notice| notice.labels["alertname"] == alert);
        notices
    }
}

impl Drop for Monitoring {
    fn drop(&mut self) {
        for process in [&mut self.prometheus, &mut self.alertmanager] {
            let _ = process.kill().and_then(|()| process.wait());
        }
    }
}

fn start(folder: &Path, program: &str, arguments: &[&str], address: SocketAddr) -> Child {
    let log = File::create(folder.join(format!("{program}.log"))).expect("a file for its messages");
    Command::new(program)
        .args(arguments)
        .arg(format!("--web.listen-address={address}"))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the same file"))
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("start {program}: {error}"))
}

/// The rules, except that an alert waits for two seconds instead of minutes.
fn soon(rules: &str) -> String {
    let mut text = String::new();
    for line in rules.lines() {
        match line.split_once("for: ") {
            Some((indent, _)) if indent.trim().is_empty() => text += &format!("{indent}for: 2s"),
            _ => text += line,
        }
        text.push('\n');
    }
    text
}

/// The configuration of `deploy`, for this agent, with an Alertmanager, and looking every second.
fn scraping(agent: SocketAddr, alertmanager: SocketAddr) -> String {
    let text = PROMETHEUS
        .replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")
        .replace("log-capturer:8001", &agent.to_string());
    assert!(
        text.contains("evaluation_interval") && text.contains(&agent.to_string()),
        "{text}"
    );
    format!("{text}alerting:\n  alertmanagers:\n    - static_configs:\n        - targets: [\"{alertmanager}\"]\n")
}

fn telling(told: &Webhook) -> String {
    format!(
        "route:
  receiver: test
  group_by: [...]
  group_wait: 0s
  group_interval: 1s
receivers:
  - name: test
    webhook_configs:
      - url: {}
        send_resolved: true
",
        told.url()
    )
}
