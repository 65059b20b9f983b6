//! Builds everything, wires it, and ends it in order.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use crate::admin::{self, Pages, Server};
use crate::capture::{self, Capture, Checkpoints, Context, Positions, Retry, Selection, Slots};
use crate::config::{Config, KernelMode, Sink as SinkConfig};
use crate::delivery::{self, Bounds, Outbox, Writers};
use crate::engine::{self, Engine, Limits, Opener};
use crate::kernel::{self, DriftMetrics, Kernel, LeakMetrics, Leaks, Patience, Tier, WatchOptions};
use crate::metrics::{self, Registry};
use crate::pace::Pace;
use crate::readiness::Readiness;
use crate::record::Time;
use crate::register::Register;
use crate::sink::{self, Sink};
use crate::state::StateDir;

/// How often idle connections are looked at.
const REAP: Duration = Duration::from_secs(1);
/// How often the kernel side's messages are fetched, when they are asked for.
const KERNEL_LOG: Duration = Duration::from_millis(100);

/// Runs the agent until a signal ends it.
pub fn run(config: &Config) -> Result<ExitCode> {
    let pace = Arc::new(Pace::new(config.capture.coalesce));
    let hook = Arc::clone(&pace);
    // One thread: two cost a follower of logs two and a half times the CPU, in handing each
    // line's wake-up from one to the other. Sinks block in threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || hook.rest())
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config, pace));
    // A sink's thread may be stuck in a write; it ends with the process.
    runtime.shutdown_background();
    result
}

async fn serve(config: &Config, pace: Arc<Pace>) -> Result<ExitCode> {
    // Before the first connection, so that none is missed.
    let readiness = Readiness::default();
    let registry = metrics::registry()?;
    let kernel_metrics = kernel::Metrics::new(&registry)?;
    let kernel = attach(config, &readiness, &kernel_metrics)?.map(Arc::new);

    let register = Register::default();
    let engine = client(config, &register, &registry)?;
    let started = Time::now();
    let checkpoints = checkpoints(config)?;
    let checkpoint = checkpoints
        .as_ref()
        .map(Checkpoints::load)
        .transpose()?
        .unwrap_or_default();
    let unseen_since = checkpoint.saved.unwrap_or(started);
    let mut files = open_files(config)?;
    let positions = checkpoint
        .recover(&mut files, config.sinks.len() == 1)
        .context("cannot read on in the sink's file")?;
    let (outbox, writers) = delivery(config, files, &registry, &readiness)?;

    let mut signals = Signals::new()?;
    let mut background = JoinSet::new();
    let leaks = Leaks::default();
    if let Some(kernel) = &kernel {
        let metrics = LeakMetrics::new(&registry)?;
        let options = watch_options(config);
        background.spawn(kernel::watch(
            Arc::clone(kernel),
            register.clone(),
            options,
            metrics,
            leaks.clone(),
        ));
        background.spawn(kernel::conserve(
            Arc::clone(kernel),
            config.kernel.leaks.scan_interval,
            DriftMetrics::new(&registry)?,
        ));
    }
    let pages = Pages {
        metrics: admin::Metrics::new(&registry)?,
        readiness: readiness.clone(),
        register: register.clone(),
        engine: engine.clone(),
        kernel: kernel.clone(),
        leaks,
        kernel_metrics,
        registry: registry.clone(),
    };
    let listen = config.admin.listen;
    let server = Server::bind(listen, pages)
        .await
        .with_context(|| format!("cannot listen on {listen} for the admin server (admin.listen)"))?;
    info!(address = %server.address()?, "admin server listens");
    background.spawn(server.run());
    background.spawn(reap(engine.clone()));
    let flushing = outbox.clone();
    background.spawn(async move { flushing.flush_by_age().await });
    if let (Some(kernel), true) = (&kernel, config.kernel.debug) {
        background.spawn(forward_kernel_log(Arc::clone(kernel)));
    }

    let part = readiness.part("engine");
    let capture = Capture::new(
        context(
            config,
            Shared {
                engine: engine.clone(),
                register: register.clone(),
                outbox: outbox.clone(),
                positions: positions.clone(),
                pace,
                kernel: kernel.clone(),
            },
            unseen_since,
            &registry,
        )?,
        part,
    );
    let mut saving = JoinSet::new();
    if let Some(checkpoints) = &checkpoints {
        // Before the first line: a file that is written to has a known beginning.
        checkpoints
            .save(&outbox, &positions)
            .await
            .context("cannot save the positions")?;
        saving.spawn(checkpoints.clone().save_at_intervals(outbox.clone(), positions.clone()));
    }
    let mut fatal = None;
    capture
        .run(async {
            tokio::select! {
                () = signals.stop() => {}
                failed = writers.failed() => fatal = Some(failed),
            }
        })
        .await;

    let deadline = Instant::now() + config.shutdown.deadline;
    engine.pool().close();
    let mut code = ExitCode::SUCCESS;
    if let Some(fatal) = fatal {
        error!("{fatal}");
        code = ExitCode::FAILURE;
    } else {
        saving.shutdown().await;
        let last = async {
            if let Some(checkpoints) = &checkpoints
                && let Err(error) = checkpoints.save(&outbox, &positions).await
            {
                error!(%error, "the last positions cannot be saved: lines can be doubled at the next start");
            }
        };
        if !deliver(last, &outbox, &writers, deadline, &mut signals).await {
            code = ExitCode::FAILURE;
        }
    }
    background.shutdown().await;
    if !account(kernel.as_deref(), &register) {
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Loads the kernel part, as far as the configuration and the host allow.
fn attach(config: &Config, readiness: &Readiness, metrics: &kernel::Metrics) -> Result<Option<Kernel>> {
    let part = readiness.part("kernel");
    metrics.in_force(Tier::None);
    if config.kernel.mode == KernelMode::Off {
        part.up("off");
        return Ok(None);
    }
    let options = kernel::Options {
        connections: config.kernel.max_connections,
        debug: config.kernel.debug,
    };
    match Kernel::attach(&options) {
        Ok(kernel) => {
            metrics.in_force(kernel.tier());
            info!(
                tier = kernel.tier().as_str(),
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

/// A client of the engine that the configuration names.
pub fn client(config: &Config, register: &Register, registry: &Registry) -> Result<Engine> {
    let docker = &config.docker;
    let path = docker.host.strip_prefix("unix://").unwrap_or(&docker.host);
    let opener = Opener {
        socket: std::path::Path::new(path).into(),
        register: register.clone(),
        limits: Limits {
            connect: docker.api.connect_timeout,
            head: docker.api.head_timeout,
            body: docker.api.body_timeout,
        },
        metrics: Arc::new(engine::Metrics::new(registry)?),
    };
    let size = engine::Size {
        max_size: docker.pool.max_size,
        max_idle: docker.pool.max_idle,
        idle_timeout: docker.pool.idle_timeout,
        max_age: docker.pool.max_age,
        wait_timeout: docker.pool.wait_timeout,
    };
    Ok(Engine::new(opener, size))
}

/// The folder for positions, if there shall be one.
fn checkpoints(config: &Config) -> Result<Option<Checkpoints>> {
    if config.state_dir.as_os_str().is_empty() {
        info!("state_dir is not set: the next start begins every container's log anew");
        return Ok(None);
    }
    Ok(Some(Checkpoints::new(StateDir::open(&config.state_dir)?)))
}

fn open_files(config: &Config) -> Result<Vec<sink::File>> {
    let paths = config.sinks.iter().filter_map(|sink| match sink {
        SinkConfig::File { path } => Some(path),
        SinkConfig::Stdout {} => None,
    });
    paths
        .map(|path| sink::File::open(path).with_context(|| format!("cannot open the sink's file {}", path.display())))
        .collect()
}

fn delivery(
    config: &Config,
    files: Vec<sink::File>,
    registry: &Registry,
    readiness: &Readiness,
) -> Result<(Outbox, Writers)> {
    let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
    for file in files {
        sinks.push(Box::new(file));
    }
    if config.sinks.contains(&SinkConfig::Stdout {}) {
        sinks.push(Box::new(sink::Stdout));
    }
    let ends = sinks.iter().filter_map(|sink| sink.end()).collect();
    let bounds = Bounds {
        batch_bytes: usize::try_from(config.delivery.batch_bytes.as_u64())?,
        max_batches: config.delivery.max_batches,
        flush_interval: config.delivery.flush_interval,
    };
    let metrics = delivery::Metrics::new(registry)?;
    let (writers, senders) = Writers::start(sinks, bounds.max_batches, &metrics, readiness)?;
    Ok((Outbox::new(bounds, senders, ends), writers))
}

/// What capture shares with others.
struct Shared {
    engine: Engine,
    register: Register,
    outbox: Outbox,
    positions: Positions,
    pace: Arc<Pace>,
    kernel: Option<Arc<Kernel>>,
}

fn context(config: &Config, shared: Shared, unseen_since: Time, registry: &Registry) -> Result<Context> {
    let Shared {
        engine,
        register,
        outbox,
        positions,
        pace,
        kernel,
    } = shared;
    let metrics = Arc::new(capture::Metrics::new(registry)?);
    let capture = &config.capture;
    Ok(Context {
        engine,
        register,
        outbox,
        positions,
        unseen_since,
        selection: Selection::new(&capture.include, &capture.exclude).context("capture.include or capture.exclude")?,
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
        max_line_bytes: usize::try_from(capture.max_line_bytes.as_u64())?,
        rotation_interval: capture.rotation.interval,
        retry: Retry {
            initial_delay: config.docker.retry.initial_delay,
            max_delay: config.docker.retry.max_delay,
        },
    })
}

fn watch_options(config: &Config) -> WatchOptions {
    let leaks = &config.kernel.leaks;
    WatchOptions {
        interval: leaks.scan_interval,
        patience: Patience {
            orphan: leaks.orphan_after,
            half_closed: leaks.half_closed_after,
        },
        heal: config.kernel.heal,
    }
}

async fn reap(engine: Engine) {
    loop {
        sleep(REAP).await;
        engine.pool().reap();
    }
}

async fn forward_kernel_log(kernel: Arc<Kernel>) {
    loop {
        kernel.forward_log();
        sleep(KERNEL_LOG).await;
    }
}

/// Delivers what was read, and does what is `last`. Tells whether it came to an end in time.
async fn deliver(
    last: impl Future<Output = ()>,
    outbox: &Outbox,
    writers: &Writers,
    deadline: Instant,
    signals: &mut Signals,
) -> bool {
    let delivered = async {
        last.await;
        outbox.close().await;
        while !writers.are_done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        done = timeout_at(deadline, delivered) => {
            if done.is_err() {
                error!("not all that was read could be delivered before shutdown.deadline");
            }
            done.is_ok()
        }
        fatal = writers.failed() => {
            error!("{fatal}");
            false
        }
        () = signals.stop() => {
            error!("stopped at the second signal, before all that was read was delivered");
            false
        }
    }
}

/// The last word: whether the kernel still holds a connection. Tells whether all is well.
fn account(kernel: Option<&Kernel>, register: &Register) -> bool {
    let believed = register.count();
    let Some(kernel) = kernel else {
        info!(
            register = believed,
            "stopped; no kernel part to verify that every connection is closed"
        );
        return believed == 0;
    };
    match kernel.snapshot() {
        Ok(snapshot) => {
            let held = snapshot.connections.len();
            if held == 0 {
                info!(register = believed, "stopped; the kernel holds 0 connections");
            } else {
                let inodes: Vec<u64> = snapshot.connections.iter().map(|c| c.inode).collect();
                error!(
                    register = believed,
                    ?inodes,
                    "stopped; the kernel still holds {held} connections"
                );
            }
            held == 0 && believed == 0
        }
        Err(error) => {
            error!(%error, "stopped; the kernel cannot be asked whether every connection is closed");
            false
        }
    }
}

/// The signals that the agent listens to.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for SIGTERM or SIGINT.
    async fn stop(&mut self) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    warn!("SIGHUP: the configuration is read at the start only; restart to change it");
                    continue;
                }
            };
            info!(signal = name, "stopping");
            return;
        }
    }
}
