//! Messages of the programs (aya-log) become events of the agent's own log.

use log::{Level, Log, Metadata, Record};

const TARGET: &str = "log_capturer::kernel::bpf";

pub(super) struct IntoTracing;

impl Log for IntoTracing {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        let message = record.args();
        match record.level() {
            Level::Error => tracing::error!(target: TARGET, "{message}"),
            Level::Warn => tracing::warn!(target: TARGET, "{message}"),
            Level::Info => tracing::info!(target: TARGET, "{message}"),
            Level::Debug => tracing::debug!(target: TARGET, "{message}"),
            Level::Trace => tracing::trace!(target: TARGET, "{message}"),
        }
    }

    fn flush(&self) {}
}
