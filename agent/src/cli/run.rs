use std::io::IsTerminal as _;
use std::process::ExitCode;

use tracing::Level as TracingLevel;
use tracing::{error, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::exit::Exit;
use super::usable::usable;
use crate::config::{Level, Sources, unknown_variables};

/// Messages that may wait for standard error; further ones are dropped.
const QUEUE: usize = 1024;

pub(super) fn run(sources: &Sources) -> ExitCode {
    let (config, endpoint) = match usable(sources) {
        Ok(usable) => usable,
        Err(unusable) => return unusable,
    };
    let _flushed_at_the_end = log_to_stderr(config.log.level.into(), config.kernel.debug);
    let unknown = unknown_variables();
    if !unknown.is_empty() {
        let variables = unknown.join(", ");
        warn!(
            variables,
            "these variables name no key of the configuration, and are ignored"
        );
    }
    match crate::app::run(&config, endpoint) {
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
fn log_to_stderr(level: LevelFilter, kernel_debug: bool) -> WorkerGuard {
    let mut targets = Targets::new()
        .with_target("log_capturer", level)
        .with_default(LevelFilter::WARN);
    if kernel_debug {
        targets = targets.with_target("log_capturer::kernel::bpf", TracingLevel::TRACE);
    }
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
    tracing_subscriber::registry().with(targets).with(lines).init();
    guard
}
