//! From the configuration to the parts.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tracing::{error, info, warn};

use crate::admin::Control;
use crate::audit::Account;
use crate::capture::{self, Checkpoints, Host, Policy, Positions, Probes, Services, SlotLimits, Slots, Standstills};
use crate::config::{self, Config, KernelMode, Sink as SinkConfig, StoreTls, StoreUrl};
use crate::delivery::dead::DeadLetters;
use crate::delivery::network::{self, Credentials, Protocol};
use crate::delivery::{self, Account as SinkAccount, Bounds, Had, Kind, Named, Outbox, Target, Writers};
use crate::delivery::{sink, spool};
use crate::encode;
use crate::engine::{self, Endpoint, Engine, Opener, Store};
use crate::kernel::{self, Kernel, Tier};
use crate::metrics::{self, Registry};
use crate::open_files;
use crate::pace::Pace;
use crate::readiness::Readiness;
use crate::record::Time;
use crate::register::Register;
use crate::source::Source;
use crate::state::StateDir;

/// Loads the kernel part, as far as the configuration and the host allow.
pub(super) fn attach(config: &Config, readiness: &Readiness, metrics: &kernel::Metrics) -> Result<Option<Kernel>> {
    let part = readiness.part("kernel");
    metrics.in_force(Tier::None);
    if config.kernel.mode == KernelMode::Off {
        part.up("off");
        return Ok(None);
    }
    match Kernel::attach(&(&config.kernel).into()) {
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
            Err(refusal).context("kernel.mode is required, and the kernel half cannot be loaded")
        }
        Err(refusal) => {
            warn!(reason = %refusal, "running without the kernel half: connections are not verified");
            part.up(&format!("none: {refusal}"));
            Ok(None)
        }
    }
}

/// Tells `/readyz` and the log whether the kernel part's account is whole.
pub(super) fn tell_account(
    config: &Config,
    readiness: &Readiness,
    tier: Tier,
    metrics: &kernel::Metrics,
) -> impl FnMut(Account) + use<> {
    let up = metrics.up.clone();
    let part = readiness.part("kernel");
    let required = config.kernel.mode == KernelMode::Required;
    let (mut lacked, mut missed, mut repaired, mut silent) = (false, false, false, false);
    move |account: Account| {
        let Account {
            lacks_room,
            quiet,
            doubt,
        } = account;
        let missing = doubt.missing();
        let words: Vec<&str> = [&lacks_room, &missing]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let detail = match words[..] {
            [] => tier.as_str().to_owned(),
            _ => format!("{}: {}", tier.as_str(), words.join("; ")),
        };
        // Who can do without the kernel part can do with less of it. What was missed is made up for.
        if required && (lacks_room.is_some() || quiet.is_some()) {
            part.down(&detail)
        } else {
            part.up(&detail)
        }
        match &lacks_room {
            Some(lacks) if !lacked => warn!("{lacks}: raise kernel.max_connections, or the limit on open files"),
            None if lacked => info!("the kernel half's maps have room again"),
            _ => {}
        }
        lacked = lacks_room.is_some();
        match &quiet {
            Some(quiet) if !silent => error!("{quiet}: set kernel.ftrace_enabled to 1, or start the agent again"),
            None if silent => info!("the kernel runs the programs again"),
            _ => {}
        }
        if silent != quiet.is_some() {
            kernel::Metrics::show_in_force(&up, if quiet.is_some() { Tier::None } else { tier });
        }
        silent = quiet.is_some();
        if let Some(missing) = missing.filter(|_| !missed) {
            warn!("{missing}; told once: kernel_missed_events_total counts on");
            missed = true;
        }
        let repairs = doubt.repaired();
        if let Some(repairs) = repairs.as_ref().filter(|_| !repaired) {
            warn!(%repairs, "entries of the ledger were wrong, and were repaired from the process's table");
        }
        repaired = repairs.is_some();
    }
}

/// A client of the engine that the configuration names.
pub fn client(config: &Config, endpoint: Arc<Endpoint>, register: &Register, registry: &Registry) -> Result<Engine> {
    let docker = &config.docker;
    let opener = Opener {
        endpoint,
        register: register.clone(),
        limits: (&docker.api).into(),
        metrics: Arc::new(engine::Metrics::new(registry)?),
    };
    Ok(Engine::new(opener, docker.into()))
}

/// Tells of a way to the engine that is not as it should be.
pub(super) fn tell_way(endpoint: &Endpoint) {
    if endpoint.is_in_clear() {
        warn!(
            host = endpoint.shown(),
            "the connection to the engine is without TLS: anybody on the way can read the logs, and anybody who reaches that port controls the machine"
        );
    }
    if let Some(fault) = endpoint.tls().and_then(|tls| tls.own_invalidity()) {
        warn!("the agent's certificate (docker.tls.cert) {fault}");
    }
}

/// The folder for positions, if there shall be one.
pub(super) fn checkpoints(config: &Config, readiness: &Readiness, registry: &Registry) -> Result<Option<Checkpoints>> {
    if config.state_dir.as_os_str().is_empty() {
        info!("state_dir is not set: the next start will read every container's log from the beginning");
        return Ok(None);
    }
    let state = StateDir::open(&config.state_dir)?;
    let metrics = capture::CheckpointMetrics::new(registry)?;
    Ok(Some(Checkpoints::new(state, readiness.part("state"), metrics)))
}

pub(super) fn open_sinks(config: &Config, register: &Register) -> Result<Vec<Named>> {
    let open = |(sink, name): (&SinkConfig, String)| {
        let kind = match sink {
            SinkConfig::Stdout { .. } => Kind::Written(Box::new(sink::Stdout)),
            SinkConfig::File { path, .. } => {
                let file = sink::File::open(path, encode::is_begun);
                let file = file.with_context(|| format!("cannot open the file of sink {name}, {}", path.display()))?;
                Kind::Written(Box::new(file))
            }
            SinkConfig::Loki {
                url,
                tenant,
                auth,
                tls,
                labels,
                metadata,
                max_line_bytes,
                ..
            } => {
                let encode = encode::Loki::new(labels, metadata, config::bytes(*max_line_bytes));
                let protocol = network::Loki::new(encode, tenant);
                let credentials = Credentials::from(auth);
                let target = target(url, network::LOKI, (tls, credentials), protocol, &name, register);
                Kind::Sent(Box::new(target.with_context(|| format!("sink {name}"))?))
            }
            SinkConfig::Otlp {
                url,
                headers_file,
                tls,
                max_line_bytes,
                ..
            } => {
                let protocol = network::Otlp::new(encode::Otlp::new(config::bytes(*max_line_bytes)));
                let credentials = Credentials::of_headers(headers_file);
                let target = target(url, network::OTLP, (tls, credentials), protocol, &name, register);
                Kind::Sent(Box::new(target.with_context(|| format!("sink {name}"))?))
            }
        };
        Ok(Named {
            name,
            kind,
            had: Had::default(),
            account: SinkAccount::default(),
            spooled: None,
        })
    };
    let names = SinkConfig::names(&config.sinks);
    config.sinks.iter().zip(names).map(open).collect()
}

/// A store, ready to be sent to. The secrets must be there now.
fn target(
    url: &str,
    own_path: &str,
    (tls, mut credentials): (&StoreTls, Credentials),
    protocol: impl Protocol + 'static,
    sink: &str,
    register: &Register,
) -> Result<Target> {
    let url: StoreUrl = url.parse()?;
    let endpoint = Endpoint::of_store(&url, tls)?;
    if credentials.are_given() && endpoint.is_in_clear() {
        warn!(
            sink,
            "the credentials are sent without TLS: anybody on the way can read them"
        );
    }
    credentials.refresh().context("cannot read its credentials")?;
    // The metrics of the engine's connections are the engine's alone. These are shown nowhere.
    let uncounted = Arc::new(engine::Metrics::new(&metrics::registry()?)?);
    let name = format!("the store of sink {sink}");
    Ok(Target {
        store: Store::new(endpoint, url.path(own_path), &name, register, uncounted),
        credentials,
        protocol: Box::new(protocol),
    })
}

/// What stores refuse for good is kept here, if there are stores and there is a folder for it. Without it such records are
/// dropped.
pub(super) fn dead_letters(config: &Config, sinks: &[Named], metrics: &delivery::Metrics) -> Option<DeadLetters> {
    let folder = letters_folder(config)?;
    if !folder.exists() && !sinks.iter().any(|sink| matches!(sink.kind, Kind::Sent(_))) {
        return None;
    }
    let max_bytes = config.dead_letters.max_bytes.as_u64();
    DeadLetters::open(&folder, max_bytes, metrics)
        .inspect_err(|error| {
            warn!(%error, folder = %folder.display(), "cannot keep dead letters: what a store refuses for good is dropped");
        })
        .ok()
}

/// Answers the commands about them.
pub(super) fn control(config: &Config, letters: DeadLetters) -> Option<Control> {
    let private = letters_folder(config)?;
    Control::bind(&config.state_dir, &private, letters)
        .inspect_err(|error| warn!(%error, "cannot listen in state_dir: log-capturer dead-letter will find no agent"))
        .ok()
}

fn letters_folder(config: &Config) -> Option<PathBuf> {
    let is_set = !config.state_dir.as_os_str().is_empty();
    is_set.then(|| config.state_dir.join("dead-letters"))
}

pub(super) fn delivery(
    config: &Config,
    sinks: Vec<Named>,
    metrics: &delivery::Metrics,
    readiness: &Readiness,
    dead: Option<&DeadLetters>,
) -> Result<(Outbox, Writers)> {
    let names = sinks.iter().map(|sink| sink.name.clone());
    let (outbox, intakes) = Outbox::new(Bounds::from(&config.delivery), names);
    let (mut written, mut sent) = (Vec::new(), Vec::new());
    for (named, intake) in sinks.into_iter().zip(intakes) {
        intake.restore(named.account);
        match named.kind {
            Kind::Written(sink) => written.push((sink, named.had, intake)),
            Kind::Sent(target) => {
                let before = spool::Before {
                    had: named.had,
                    spooled: named.spooled,
                };
                sent.push((target, before, intake));
            }
        }
    }
    let mut writers = Writers::start(written, metrics, readiness)?;
    let spool = spools(config, sent.iter().map(|(_, _, intake)| intake.name().to_owned()));
    for (target, before, intake) in sent {
        writers.send(
            *target,
            intake,
            (before, spool.as_ref()),
            metrics,
            readiness,
            dead.cloned(),
        )?;
    }
    Ok((outbox, writers))
}

/// Where what sinks do not take is kept, if it can be kept for the sinks of these names.
fn spools(config: &Config, sinks: impl Iterator<Item = String>) -> Option<spool::Options> {
    let sinks: Vec<String> = sinks.collect();
    if config.state_dir.as_os_str().is_empty() {
        if !sinks.is_empty() {
            warn!("state_dir is not set, so there is no spool: a store that is away stops the reading for all sinks");
        }
        return None;
    }
    let options = spool::Options::new(&config.state_dir, &config.spool);
    for folder in options.left_over(&sinks) {
        warn!(folder = %folder.display(), "this spool is of no sink that is configured: what it has is not delivered");
    }
    Some(options)
}

/// What capture shares with others.
pub(super) struct Shared {
    pub engine: Engine,
    pub source: Source,
    pub register: Register,
    pub outbox: Outbox,
    pub positions: Positions,
    pub pace: Arc<Pace>,
    pub kernel: Option<Arc<Kernel>>,
}

pub(super) fn services(config: &Config, shared: Shared, unseen_since: Time, metrics: capture::Metrics) -> Services {
    let Shared {
        engine,
        source,
        register,
        outbox,
        positions,
        pace,
        kernel,
    } = shared;
    let metrics = Arc::new(metrics);
    let limits = SlotLimits::from(&config.capture);
    let stream_room = stream_room(limits);
    Services {
        source,
        engine,
        register,
        outbox,
        host: Host::default(),
        to_stdout: config
            .sinks
            .iter()
            .any(|sink| matches!(sink, SinkConfig::Stdout { .. })),
        positions,
        unseen_since,
        slots: Slots::new(limits.within(stream_room), Arc::clone(&metrics)),
        stream_room,
        probes: Probes::default(),
        standstills: Standstills::default(),
        pace,
        metrics,
        is_released: Box::new(move |inode| {
            let held = kernel.as_ref()?.holds(inode);
            held.inspect_err(|error| warn!(%error, "cannot ask the kernel"))
                .ok()
                .map(|held| !held)
        }),
        retry: (&config.docker.retry).into(),
    }
}

/// How many streams the limit on open files leaves room for. Beyond that, containers wait for their turn instead of
/// failing.
fn stream_room(wanted: SlotLimits) -> usize {
    let Some(left) = open_files::left().and_then(|left| usize::try_from(left).ok()) else {
        return usize::MAX;
    };
    let allowed = wanted.within(left);
    if allowed.streams < wanted.streams {
        warn!(
            left,
            wanted = wanted.streams,
            allowed = allowed.streams,
            "the limit on open files is too low for capture.streams.max_concurrent: fewer logs are read at a time; raise the \
             hard limit (LimitNOFILE= of systemd, --ulimit nofile= of docker)"
        );
    }
    left
}

/// What a reload replaces while the agent runs.
pub(super) fn policy(config: &Config) -> Result<Policy> {
    let capture = &config.capture;
    Ok(Policy {
        selection: capture.try_into().context("capture.include or capture.exclude")?,
        start: capture::first_time(capture.start),
        options: capture.try_into().context("capture.multiline")?,
        host: config.host.clone(),
        fields: capture.try_into().context("capture.labels")?,
        slots: capture.into(),
        rotation: (&capture.rotation).into(),
        silence: (&capture.silence).into(),
    })
}
