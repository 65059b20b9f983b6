use std::io::IsTerminal as _;
use std::process::ExitCode;

use tracing::Level as TracingLevel;
use tracing::{error, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::exit::Exit;
use super::usable::usable;
use crate::app::ShowFrom;
use crate::config::{Level, Sources, unknown_variables};

/// Messages that may wait for standard error; further ones are dropped.
const QUEUE: usize = 1024;

pub(super) fn run(sources: &Sources) -> ExitCode {
    // What reading the arguments took.
    crate::memory::give_back();
    let (config, endpoint) = match usable(sources) {
        Ok(usable) => usable,
        Err(unusable) => return unusable,
    };
    let (_flushed_at_the_end, show_from) = log_to_stderr(config.log.level, config.kernel.debug);
    let unknown = unknown_variables();
    if !unknown.is_empty() {
        let variables = unknown.join(", ");
        warn!(
            variables,
            "these variables name no key of the configuration, and are ignored"
        );
    }
    match crate::app::run(&config, endpoint, sources, show_from) {
        Ok(code) => code,
        Err(error) => {
            error!("{error:#}");
            Exit::Failure.into()
        }
    }
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::ERROR,
            Level::Warn => Self::WARN,
            Level::Info => Self::INFO,
            Level::Debug => Self::DEBUG,
            Level::Trace => Self::TRACE,
        }
    }
}

/// Messages on standard error, with colour only on a terminal.
///
/// By a thread of its own, and with a bounded queue: standard error can be a pipe that nobody reads, and capturing goes
/// on all the same.
fn log_to_stderr(level: Level, kernel_debug: bool) -> (WorkerGuard, ShowFrom) {
    let (shown, handle) = reload::Layer::new(targets(level, kernel_debug));
    let (stderr, guard) = crate::app::without_rights(|| {
        NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUE)
            .finish(std::io::stderr())
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(kernel_debug);
    tracing_subscriber::registry().with(shown).with(lines).init();
    let show_from = move |level| {
        // It fails only where nobody shows messages any more.
        let _ = handle.reload(targets(level, kernel_debug));
    };
    (guard, Box::new(show_from))
}

fn targets(level: Level, kernel_debug: bool) -> Targets {
    let targets = Targets::new()
        .with_target("log_capturer", LevelFilter::from(level))
        .with_default(LevelFilter::WARN);
    if kernel_debug {
        targets.with_target("log_capturer::kernel::bpf", TracingLevel::TRACE)
    } else {
        targets
    }
}
