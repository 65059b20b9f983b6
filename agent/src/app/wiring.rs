//! From the configuration to the parts.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use tracing::{info, warn};

use crate::admin;
use crate::audit::{Patience, WatchOptions};
use crate::capture::{self, Checkpoints, Context, Intervals, Options, Positions, Probes, Rotation, Selection, Slots};
use crate::config::{Config, KernelMode, KernelTier, Sink as SinkConfig};
use crate::delivery::sink::{self, Named, Sink};
use crate::delivery::{self, Bounds, Outbox, Writers};
use crate::encode::{self, Fields};
use crate::engine::{self, Endpoint, Engine, Limits, Opener, Tls};
use crate::kernel::{self, Kernel, Tier};
use crate::metrics::Registry;
use crate::pace::Pace;
use crate::readiness::Readiness;
use crate::record::Time;
use crate::register::Register;
use crate::source::Source;
use crate::state::StateDir;

/// Loads the kernel part, as far as the configuration and the host allow.
pub fn attach(config: &Config, readiness: &Readiness, metrics: &kernel::Metrics) -> Result<Option<Kernel>> {
    let part = readiness.part("kernel");
    metrics.in_force(Tier::None);
    if config.kernel.mode == KernelMode::Off {
        part.up("off");
        return Ok(None);
    }
    let options = kernel::Options {
        tier: match config.kernel.tier {
            KernelTier::Auto => None,
            KernelTier::Fentry => Some(Tier::Fentry),
            KernelTier::Tracepoint => Some(Tier::Tracepoint),
        },
        connections: config.kernel.max_connections,
        debug: config.kernel.debug,
    };
    match Kernel::attach(&options) {
        Ok(kernel) => {
            metrics.in_force(kernel.tier());
            info!(
                tier = kernel.tier().as_str(),
                not_better_because = kernel.refused().map(|refusal| refusal.reason()),
                "the kernel counts the agent's connections"
            );
            part.up(kernel.tier().as_str());
            Ok(Some(kernel))
        }
        Err(refusal) if config.kernel.mode == KernelMode::Required => {
            Err(refusal).context("kernel.mode is required, and the kernel part cannot be loaded")
        }
        Err(refusal) => {
            warn!(reason = %refusal, "runs without the kernel part: connections are not verified");
            part.up(&format!("none: {refusal}"));
            Ok(None)
        }
    }
}

/// Tells `/readyz` and the log whether the kernel part's account is whole.
pub fn tell_room(config: &Config, readiness: &Readiness, tier: Tier) -> impl FnMut(Option<String>) + use<> {
    let part = readiness.part("kernel");
    let required = config.kernel.mode == KernelMode::Required;
    let mut told = None;
    move |lacks: Option<String>| {
        match &lacks {
            Some(lacks) => {
                let detail = format!("{}: {lacks}", tier.as_str());
                // Who can do without the kernel part can do with less of it.
                if required {
                    part.down(&detail)
                } else {
                    part.up(&detail)
                }
                if told.is_none() {
                    warn!("{lacks}: raise kernel.max_connections, or the limit on open files");
                }
            }
            None if told.is_some() => {
                part.up(tier.as_str());
                info!("the kernel part's maps have room again");
            }
            None => {}
        }
        told = lacks;
    }
}

/// A client of the engine that the configuration names.
pub fn client(config: &Config, endpoint: Endpoint, register: &Register, registry: &Registry) -> Result<Engine> {
    let docker = &config.docker;
    let opener = Opener {
        endpoint: Arc::new(endpoint),
        register: register.clone(),
        limits: Limits {
            connect: docker.api.connect_timeout,
            head: docker.api.head_timeout,
            body: docker.api.body_timeout,
        },
        metrics: Arc::new(engine::Metrics::new(registry)?),
    };
    Ok(Engine::new(opener, engine::Options::from(docker)))
}

/// Tells of a way to the engine that is not as it should be.
pub fn tell_way(endpoint: &Endpoint) {
    if endpoint.is_in_clear() {
        warn!(
            host = endpoint.shown(),
            "the engine is spoken to without TLS: whoever is on the way reads the logs, and who reaches that port owns the machine"
        );
    }
    if let Some(fault) = endpoint.tls().and_then(Tls::own_invalidity) {
        warn!("the agent's certificate (docker.tls.cert) {fault}");
    }
}

/// The folder for positions, if there shall be one.
pub fn checkpoints(config: &Config) -> Result<Option<Checkpoints>> {
    if config.state_dir.as_os_str().is_empty() {
        info!("state_dir is not set: the next start begins every container's log anew");
        return Ok(None);
    }
    Ok(Some(Checkpoints::new(StateDir::open(&config.state_dir)?)))
}

pub fn open_sinks(config: &Config) -> Result<Vec<Named>> {
    let names = SinkConfig::names(&config.sinks);
    let open = |(sink, name): (&SinkConfig, String)| {
        let sink: Box<dyn Sink> = match sink {
            SinkConfig::Stdout { .. } => Box::new(sink::Stdout),
            SinkConfig::File { path, .. } => {
                let file = sink::File::open(path, encode::is_begun);
                Box::new(file.with_context(|| format!("cannot open the file of sink {name}, {}", path.display()))?)
            }
        };
        Ok(Named { name, sink })
    };
    config.sinks.iter().zip(names).map(open).collect()
}

pub fn delivery(
    config: &Config,
    sinks: Vec<Named>,
    metrics: &delivery::Metrics,
    readiness: &Readiness,
) -> Result<(Outbox, Writers)> {
    let bounds = Bounds {
        batch_bytes: usize::try_from(config.delivery.batch_bytes.as_u64())?,
        max_batches: config.delivery.max_batches,
        flush_interval: config.delivery.flush_interval,
    };
    let (outbox, intakes) = Outbox::new(bounds, sinks.iter().map(|sink| sink.name.clone()));
    let writers = Writers::start(
        sinks.into_iter().map(|named| named.sink).zip(intakes),
        metrics,
        readiness,
    )?;
    Ok((outbox, writers))
}

/// What capture shares with others.
pub struct Shared {
    pub engine: Engine,
    pub register: Register,
    pub outbox: Outbox,
    pub positions: Positions,
    pub pace: Arc<Pace>,
    pub kernel: Option<Arc<Kernel>>,
}

pub fn context(config: &Config, shared: Shared, unseen_since: Time, metrics: capture::Metrics) -> Result<Context> {
    let Shared {
        engine,
        register,
        outbox,
        positions,
        pace,
        kernel,
    } = shared;
    let metrics = Arc::new(metrics);
    let capture = &config.capture;
    Ok(Context {
        source: Source::new(engine.clone(), usize::try_from(capture.max_line_bytes.as_u64())?),
        engine,
        register,
        outbox,
        positions,
        unseen_since,
        selection: Selection::new(&capture.include, &capture.exclude).context("capture.include or capture.exclude")?,
        options: Options::new(capture).context("capture.multiline")?,
        slots: Slots::new(
            capture.streams.max_concurrent,
            capture.rotation.max_concurrent,
            Arc::clone(&metrics),
        ),
        pace,
        metrics,
        is_released: Box::new(move |inode| {
            let held = kernel.as_ref()?.holds(inode);
            held.inspect_err(|error| warn!(%error, "cannot ask the kernel"))
                .ok()
                .map(|held| !held)
        }),
        host: config.host.clone(),
        fields: Fields::new(&capture.labels, &capture.fields).context("capture.labels")?,
        rotation: Rotation {
            interval: capture.rotation.interval,
            idle_interval: capture.rotation.idle_interval.max(capture.rotation.interval),
        },
        probes: Probes::new(Intervals {
            probe_after: capture.silence.probe_after,
            max_interval: capture.silence.max_interval,
        }),
        retry: engine::Options::from(&config.docker).retry,
    })
}

pub fn watch_options(config: &Config) -> WatchOptions {
    let leaks = &config.kernel.leaks;
    WatchOptions {
        interval: leaks.scan_interval,
        patience: Patience {
            orphan: leaks.orphan_after,
            half_closed: leaks.half_closed_after,
        },
        clients: admin::CLIENTS as u64,
        heal: config.kernel.heal,
    }
}
