//! `doctor`: what this host gives, before anything is captured.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;

use super::exit::Exit;
use super::print::{or_dash, print, shown};
use super::usable::usable;
use crate::app;
use crate::config::{self, Config, Sources};
use crate::engine::Endpoint;
use crate::kernel::{self, Kernel, Refusal, Tier};
use crate::metrics;
use crate::record::ContainerId;
use crate::register::Register;
use crate::source;

#[derive(Serialize)]
struct Report {
    engine: Engine,
    containers: Vec<Container>,
    kernel: KernelPart,
    rights: Rights,
}

#[derive(Serialize)]
struct Engine {
    host: String,
    /// Over a network, and others can read along.
    in_clear: bool,
    /// Absent where there is none.
    tls: Option<EngineTls>,
    release: Option<String>,
    api: Option<String>,
    /// Why it cannot be asked.
    error: Option<String>,
}

#[derive(Serialize)]
struct EngineTls {
    /// Always: there is no TLS without.
    verifies: bool,
    ca: PathBuf,
    cert: Option<PathBuf>,
    /// Why the engine will refuse the agent's own.
    cert_fault: Option<String>,
}

#[derive(Serialize)]
struct Container {
    id: String,
    name: String,
    running: bool,
    log_driver: String,
    captured: bool,
    /// `file`, `api` or `none`.
    source: &'static str,
    /// The file, or why it is no file.
    because: String,
}

#[derive(Serialize)]
struct KernelPart {
    release: String,
    /// The best that it takes.
    tier: &'static str,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    tier: &'static str,
    /// Where nothing else works either, with what to grant.
    reason: String,
}

#[derive(Serialize)]
struct Rights {
    uid: u32,
    /// Those of the kernel part's, and whether this process has them.
    capabilities: Vec<(&'static str, bool)>,
    descriptors: Option<u64>,
}

pub(super) fn doctor(sources: &Sources, json: bool) -> ExitCode {
    let (config, endpoint) = match usable(sources) {
        Ok(usable) => usable,
        Err(unusable) => return unusable,
    };
    shown(examine(&config, endpoint).and_then(|report| {
        if json {
            print(&(serde_json::to_string_pretty(&report)? + "\n"))?;
        } else {
            print(&report.text())?;
        }
        Ok(Exit::Success.into())
    }))
}

fn examine(config: &Config, endpoint: Endpoint) -> Result<Report> {
    let kernel = kernel_part();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(engine(config, endpoint));
    // A name server that does not answer is not waited for.
    runtime.shutdown_background();
    let (engine, containers) = asked?;
    Ok(Report {
        engine,
        containers,
        kernel,
        rights: rights(),
    })
}

async fn engine(config: &Config, endpoint: Endpoint) -> Result<(Engine, Vec<Container>)> {
    let host = endpoint.shown().to_owned();
    let in_clear = endpoint.is_in_clear();
    let tls = endpoint.tls().map(|tls| {
        let docker = &config.docker.tls;
        EngineTls {
            verifies: true,
            ca: docker.ca.clone(),
            cert: (!docker.cert.as_os_str().is_empty()).then(|| docker.cert.clone()),
            cert_fault: tls.own_invalidity(),
        }
    });
    let client = app::client(config, Arc::new(endpoint), &Register::default(), &metrics::registry()?)?;
    let asked = async {
        let api = client.ping().await?.to_string();
        let release = client.release().await?;
        let root = match &config.capture.files.root {
            root if root.as_os_str().is_empty() => client.data_root().await?,
            root => root.clone(),
        };
        let mut containers = Vec::new();
        for listed in client.list().await?.containers {
            // One that was removed meanwhile has none.
            let Ok(log_driver) = client.inspect(&listed.container.id).await.map(|it| it.log_driver) else {
                continue;
            };
            let (source, because) = source_of(config.capture.source, &root, &listed.container.id);
            containers.push(Container {
                source: if log_driver == "none" { "none" } else { source },
                because,
                id: listed.container.id.to_string(),
                name: listed.container.name,
                running: listed.running,
                captured: log_driver != "none",
                log_driver,
            });
        }
        Ok::<_, crate::engine::EngineError>((api, release, containers))
    };
    Ok(match asked.await {
        Ok((api, release, containers)) => (
            Engine {
                host,
                in_clear,
                tls,
                release: Some(release),
                api: Some(api),
                error: None,
            },
            containers,
        ),
        Err(error) => (
            Engine {
                host,
                in_clear,
                tls,
                release: None,
                api: None,
                error: Some(error.to_string()),
            },
            Vec::new(),
        ),
    })
}

/// Where a container's log is read from, and why.
fn source_of(wanted: config::Source, root: &Path, id: &ContainerId) -> (&'static str, String) {
    if wanted == config::Source::Api {
        return ("api", "capture.source is api".to_owned());
    }
    match source::path_of(root, id) {
        Ok(path) => ("file", path.display().to_string()),
        Err(why) if wanted == config::Source::Files => ("none", why.to_string()),
        Err(why) => ("api", why.to_string()),
    }
}

/// Each tier is tried by itself, by loading and attaching all of it.
fn kernel_part() -> KernelPart {
    let mut taken = Vec::new();
    let mut refusals = Vec::new();
    for tier in [Tier::Fentry, Tier::Tracepoint] {
        let options = kernel::Options {
            tier: Some(tier),
            ..kernel::Options::default()
        };
        match Kernel::attach(&options) {
            Ok(_) => taken.push(tier),
            Err(refusal) => refusals.push((tier, refusal)),
        }
    }
    let told = |refusal: Refusal| {
        if taken.is_empty() {
            refusal.to_string()
        } else {
            refusal.reason()
        }
    };
    KernelPart {
        release: rustix::system::uname().release().to_string_lossy().into_owned(),
        tier: taken.first().unwrap_or(&Tier::None).as_str(),
        refused: refusals
            .into_iter()
            .map(|(tier, refusal)| Refused {
                tier: tier.as_str(),
                reason: told(refusal),
            })
            .collect(),
    }
}

fn rights() -> Rights {
    let effective = capabilities(None)
        .map(|sets| sets.effective)
        .unwrap_or(CapabilitySet::empty());
    let wanted = [
        ("CAP_BPF", CapabilitySet::BPF),
        ("CAP_PERFMON", CapabilitySet::PERFMON),
        ("CAP_DAC_READ_SEARCH", CapabilitySet::DAC_READ_SEARCH),
        ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ];
    Rights {
        uid: rustix::process::geteuid().as_raw(),
        capabilities: wanted.map(|(name, one)| (name, effective.contains(one))).to_vec(),
        descriptors: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
    }
}

impl Report {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        let Engine {
            host,
            in_clear,
            tls,
            release,
            api,
            error,
        } = &self.engine;
        match (release, api, error) {
            (Some(release), Some(api), _) => lines.push(format!("engine      {release} at {host}, API {api}")),
            (_, _, error) => lines.push(format!("engine      none at {host}: {}", or_dash(error.as_deref()))),
        }
        if let Some(tls) = tls {
            let own = match &tls.cert {
                Some(cert) => format!("the agent's certificate is {}", cert.display()),
                None => "the agent has no certificate".to_owned(),
            };
            lines.push(format!("            TLS, verified against {}; {own}", tls.ca.display()));
            if let Some(fault) = &tls.cert_fault {
                lines.push(format!("            that certificate {fault}"));
            }
        } else if *in_clear {
            lines.push("            without TLS: anybody on the way can read the logs".to_owned());
        }
        for container in &self.containers {
            let Container {
                name,
                log_driver,
                captured,
                running,
                source,
                because,
                ..
            } = container;
            let state = if *running { "running" } else { "ended" };
            let verdict = match *source {
                _ if !captured => "cannot be read".to_owned(),
                "file" => format!("read from {because}"),
                "api" => format!("read through the API: {because}"),
                _ => format!("cannot be read: {because}"),
            };
            lines.push(format!(
                "container   {name}: {state}, log driver {log_driver}: {verdict}"
            ));
        }
        let KernelPart { release, tier, refused } = &self.kernel;
        let watched = match *tier {
            "none" => "not watched".to_owned(),
            tier => format!("watched by {tier}"),
        };
        lines.push(format!("kernel      {release}: {watched}"));
        for Refused { tier, reason } in refused {
            lines.push(format!("            not by {tier}: {reason}"));
        }
        let held: Vec<String> = self
            .rights
            .capabilities
            .iter()
            .map(|(name, has)| {
                let mark = if *has { "yes" } else { "no" };
                format!("{name} {mark}")
            })
            .collect();
        lines.push(format!("rights      uid {}, {}", self.rights.uid, held.join(", ")));
        if let Some(limit) = self.rights.descriptors {
            lines.push(format!("descriptors at most {limit}"));
        }
        lines.join("\n") + "\n"
    }
}
