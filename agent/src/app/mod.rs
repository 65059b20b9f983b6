//! Builds everything, wires it, and ends it in order.

mod account;
mod background;
mod metrics;
mod reload;
mod rights;
mod shutdown;
mod wiring;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::{Notify, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use self::background::Background;
use self::reload::Reloads;
pub use self::reload::{ShowFrom, load};
pub use self::rights::without as without_rights;
use self::shutdown::{Signals, account, deliver};
pub use self::wiring::client;
use self::wiring::{
    Shared, attach, checkpoints, control, dead_letters, delivery, open_sinks, policy, services, tell_account, tell_way,
};
use crate::admin::{self, Hosts, Listener, Pages, Server};
use crate::audit::{self, DriftMetrics, LeakMetrics, Leaks};
use crate::capture::{self, Capture, Checkpoints, Policies};
use crate::config::{self, Config, Sources};
use crate::delivery;
use crate::engine::{self, Endpoint, Verdict};
use crate::kernel::{self, Kernel};
use crate::memory;
use crate::open_files::{self, Raised};
use crate::pace::Pace;
use crate::readiness::{Part, Readiness};
use crate::record::Time;
use crate::register::{OnConnect, Register};
use crate::source::{Files, Source, Watcher};

/// How often the kernel side's messages are fetched, when they are asked for.
const KERNEL_LOG: Duration = Duration::from_millis(100);

/// Runs the agent until a signal ends it. `sources` are what `config` and `endpoint` were loaded from.
pub fn run(config: &Config, endpoint: Endpoint, sources: &Sources, show_from: ShowFrom) -> Result<ExitCode> {
    memory::share_heap();
    // What reading the configuration took.
    memory::give_back();
    let pace = Arc::new(Pace::new(config.capture.coalesce));
    let hook = Arc::clone(&pace);
    let watcher = Arc::new(OnceLock::<Watcher>::new());
    let looks = Arc::clone(&watcher);
    // One thread: two cost 1.6 times the CPU (docs/evidence/performance.md), in handing each line's wake-up from one to the other.
    // Sinks block in threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(move || {
            let watcher = looks.get();
            hook.rest(watcher.is_some_and(Watcher::is_hot));
            if let Some(watcher) = watcher {
                watcher.rested();
            }
        })
        .build()
        .context("cannot start the runtime")?;
    let endpoint = Arc::new(endpoint);
    let result = runtime.block_on(serve(config, endpoint, sources, show_from, pace, &watcher));
    // A sink's thread may be stuck in a write; it ends with the process.
    runtime.shutdown_background();
    result
}

async fn serve(
    config: &Config,
    endpoint: Arc<Endpoint>,
    sources: &Sources,
    show_from: ShowFrom,
    pace: Arc<Pace>,
    looks: &OnceLock<Watcher>,
) -> Result<ExitCode> {
    // First of all: one that comes during the start ends the agent in order, too.
    let mut signals = Signals::new()?;
    // The kernel half has room for as many descriptors as there may be.
    raise_limit();
    // Before the first connection, so that none is missed.
    let readiness = Readiness::default();
    let registry = crate::metrics::registry()?;
    let kernel_metrics = kernel::Metrics::new(&registry)?;
    // Most of what has run by now does not run again, and the attach takes the most memory of all.
    memory::give_back();
    let kernel = attach(config, &readiness, &kernel_metrics)?.map(Arc::new);
    memory::give_back();
    let listen = config.admin.listen;
    let listener = Listener::bind(listen).await;
    // Before the first thread of the agent's own work. A port below 1024 is bound by now.
    rights::give_up(|| kernel.as_ref().is_none_or(|kernel| kernel.snapshot().is_ok()));

    let register = Register::new(kernel.clone().map(|kernel| kernel as Arc<dyn OnConnect>));
    tell_way(&endpoint);
    let engine = client(config, Arc::clone(&endpoint), &register, &registry)?;
    let started = Time::now();
    let checkpoints = checkpoints(config, &readiness, &registry)?;
    let checkpoint = checkpoints
        .as_ref()
        .map(Checkpoints::load)
        .transpose()?
        .unwrap_or_default();
    let unseen_since = checkpoint.saved.unwrap_or(started);
    let mut sinks = open_sinks(config, &register)?;
    let positions = checkpoint
        .recover(&mut sinks)
        .context("cannot continue in the sink's file")?;
    let delivery_metrics = delivery::Metrics::new(&registry)?;
    let dead = dead_letters(config, &sinks, &delivery_metrics);
    let (outbox, mut writers) = delivery(config, sinks, &delivery_metrics, &readiness, dead.as_ref())?;

    let mut background = Background::default();
    let leaks = Leaks::default();
    if let Some(kernel) = &kernel {
        let metrics = LeakMetrics::new(&registry)?;
        background.spawn(
            "leaks",
            audit::watch(
                Arc::clone(kernel),
                register.clone(),
                (&config.kernel).into(),
                admin::CLIENTS as u64,
                metrics,
                leaks.clone(),
                tell_account(config, &readiness, kernel.tier(), &kernel_metrics),
            ),
        );
        background.spawn(
            "conservation",
            audit::conserve(
                Arc::clone(kernel),
                config.kernel.leaks.scan_interval,
                DriftMetrics::new(&registry)?,
            ),
        );
    }
    let (observed, shown) = (outbox.clone(), delivery_metrics.clone());
    let (read, sent) = (positions.clone(), outbox.clone());
    let pages = Pages {
        metrics: admin::Metrics::new(&registry)?,
        readiness: readiness.clone(),
        register: register.clone(),
        engine: engine.clone(),
        kernel: kernel.clone(),
        leaks,
        kernel_metrics,
        scrapes: tokio::sync::Mutex::default(),
        registry: registry.clone(),
        account: Box::new(move || account::account(&read, &sent)),
        refresh: Box::new(move || observed.observe(&shown)),
    };
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let hosts = Hosts::new(config.admin.hosts.iter().cloned().chain([config.host.clone(), machine]));
    background.spawn("admin", Server::new(listener, pages, hosts).run());
    if let Some(control) = dead.and_then(|dead| control(config, dead)) {
        background.spawn("control", control.run());
    }
    background.spawn("tend", engine.clone().tend());
    background.spawn("memory", memory::tend());
    background.spawn(
        "health",
        show_health(engine.verdicts(), readiness.part("engine_health")),
    );
    let flushing = outbox.clone();
    background.spawn("flush", async move { flushing.flush().await });
    if let (Some(kernel), true) = (&kernel, config.kernel.debug) {
        background.spawn("kernel_log", forward_kernel_log(Arc::clone(kernel)));
    }

    let source = source(config, &engine, looks, &mut background)?;
    if let Err(error) = open_files::keep_reserve() {
        warn!(%error, "cannot keep a reserve of open files");
    }
    let part = readiness.part("engine");
    let policies = Policies::new(policy(config)?);
    let reloads = Reloads {
        sources: Arc::new(sources.clone()),
        begun: config.clone(),
        endpoint,
        policies: policies.clone(),
        show_from,
        metrics: metrics::Metrics::new(&registry)?,
    };
    let reload = Arc::new(Notify::new());
    background.spawn("reload", reloads.run(Arc::clone(&reload)));
    let capture = Capture::new(
        services(
            config,
            Shared {
                engine: engine.clone(),
                source,
                register: register.clone(),
                outbox: outbox.clone(),
                positions: positions.clone(),
                pace,
                kernel: kernel.clone(),
            },
            unseen_since,
            capture::Metrics::new(&registry, &delivery_metrics)?,
        ),
        &policies,
        part,
    );
    let mut saving = None;
    if let Some(checkpoints) = &checkpoints {
        // Before the first line: a file that is written to has a known beginning. What is wrong is told, and tried again.
        let _ = checkpoints.save(&outbox, &positions).await;
        let at_intervals = checkpoints.clone().save_at_intervals(outbox.clone(), positions.clone());
        saving = Some(background.spawn("positions", at_intervals));
    }
    // What has made all that is ready does not run again.
    memory::give_back();
    let (mut failed, mut ended) = (None, None);
    capture
        .run(async {
            tokio::select! {
                () = signals.stop(&outbox, &reload) => {}
                fatal = writers.failed() => failed = Some(fatal),
                task = background.ended() => {
                    error!("{task}");
                    ended = Some(task);
                }
            }
            engine.leave();
        })
        .await;

    let deadline = Instant::now() + config.shutdown.deadline;
    engine.pool().close();
    if let Some(saving) = saving {
        saving.abort();
        // Two must not save at the same time.
        while !saving.is_finished() {
            yield_now().await;
        }
    }
    let last = async {
        let Some(checkpoints) = &checkpoints else {
            return true;
        };
        let saved = checkpoints.save(&outbox, &positions).await;
        if let Err(error) = &saved {
            error!(%error, "the last positions cannot be saved: lines are doubled at the next start");
        }
        saved.is_ok()
    };
    let delivered = match failed {
        Some(fatal) => Err(fatal),
        None => deliver(last, &outbox, &writers, deadline, &mut signals).await,
    };
    let mut code = if matches!(delivered, Ok(true)) && ended.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    if let Err(fatal) = delivered {
        error!("{fatal}");
        if let Some(checkpoints) = &checkpoints {
            checkpoints.distrust(&fatal.sink);
        }
    }
    background.shutdown().await;
    writers.end(deadline).await;
    let _ = timeout_at(deadline, engine.at_rest()).await;
    if !account(kernel.as_deref(), &register) {
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

/// Where logs are read from.
fn source(
    config: &Config,
    engine: &engine::Engine,
    looks: &OnceLock<Watcher>,
    background: &mut Background,
) -> Result<Source> {
    let capture = &config.capture;
    let max_line_bytes = config::bytes(capture.max_line_bytes);
    let files = if capture.source == config::Source::Api {
        None
    } else {
        let watcher = Watcher::new().context("cannot look at files")?;
        background.spawn("watcher", watcher.clone().run());
        let _ = looks.set(watcher.clone());
        let rests = !capture.coalesce.is_zero();
        Some(Files::new(&capture.files.root, watcher, max_line_bytes, rests))
    };
    let falls_back = capture.source != crate::config::Source::Files;
    Ok(Source::new(engine.clone(), files, falls_back, max_line_bytes))
}

/// As many files and sockets as the host lets this process have. What the start opens is not refused any of them.
fn raise_limit() {
    match open_files::raise() {
        Ok(Raised { from, to }) if to > from => info!(from, to, "raised the limit on open files"),
        Ok(_) => {}
        Err(error) => warn!(%error, "cannot raise the limit on open files"),
    }
}

async fn show_health(mut verdicts: watch::Receiver<Verdict>, part: Part) {
    loop {
        {
            let verdict = verdicts.borrow_and_update();
            if verdict.ready {
                part.up(&verdict.detail);
            } else {
                part.down(&verdict.detail);
            }
        }
        if verdicts.changed().await.is_err() {
            return;
        }
    }
}

async fn forward_kernel_log(kernel: Arc<Kernel>) {
    loop {
        kernel.forward_log();
        sleep(KERNEL_LOG).await;
    }
}
