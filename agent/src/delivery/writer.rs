//! A thread for each sink: it may block in `write(2)` for as long as its peer likes, and
//! wakes once a batch, so the one thread of the runtime never waits for it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::metrics::Metrics;
use super::outbox::Batch;
use super::sink::Sink;
use crate::readiness::{Part, Readiness};

/// The first pause after a failed write; it doubles up to `MAX_PAUSE`.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// A sink that can never take anything again.
#[derive(Debug, thiserror::Error)]
#[error("sink {sink}: {source}; nothing more can be delivered there")]
pub struct Fatal {
    /// The name of the sink, as the label `sink` has it.
    pub sink: String,
    /// What the last write has failed with.
    pub source: io::Error,
}

/// One sink's thread.
pub struct Writer {
    sink: Box<dyn Sink>,
    metrics: Metrics,
    readiness: Part,
    failures: Arc<Failures>,
}

/// The threads of all sinks.
pub struct Writers {
    threads: Vec<JoinHandle<()>>,
    failures: Arc<Failures>,
}

#[derive(Default)]
struct Failures {
    first: Mutex<Option<Fatal>>,
    told: Notify,
}

impl Writers {
    /// Starts a thread for each sink, and returns what the outbox hands its batches to.
    pub fn start(
        sinks: Vec<Box<dyn Sink>>,
        max_batches: usize,
        metrics: &Metrics,
        readiness: &Readiness,
    ) -> io::Result<(Self, Vec<SyncSender<Arc<Batch>>>)> {
        let mut all = Self {
            threads: Vec::new(),
            failures: Arc::default(),
        };
        let mut senders = Vec::new();
        for sink in sinks {
            let (sender, batches) = sync_channel(max_batches);
            let part = readiness.part(&format!("sink {}", sink.name()));
            part.up("writing");
            let writer = Writer {
                metrics: metrics.clone(),
                readiness: part,
                failures: Arc::clone(&all.failures),
                sink,
            };
            let name = format!("sink-{}", writer.sink.name());
            let thread = std::thread::Builder::new().name(name).stack_size(128 << 10);
            all.threads.push(thread.spawn(move || writer.run(&batches))?);
            senders.push(sender);
        }
        Ok((all, senders))
    }

    /// Waits until a sink has failed for good.
    pub async fn failed(&self) -> Fatal {
        loop {
            let told = self.failures.told.notified();
            let first = self.failures.first.lock();
            if let Some(fatal) = first.unwrap_or_else(PoisonError::into_inner).take() {
                return fatal;
            }
            told.await;
        }
    }

    /// Whether every sink has written all that it was given.
    pub fn are_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }
}

impl Writer {
    fn run(mut self, batches: &Receiver<Arc<Batch>>) {
        while let Ok(batch) = batches.recv() {
            if let Err(source) = self.deliver(batch.bytes()) {
                let fatal = Fatal {
                    sink: self.sink.name().to_owned(),
                    source,
                };
                self.readiness.down(&fatal.to_string());
                let mut first = self.failures.first.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert(fatal);
                drop(first);
                self.failures.told.notify_one();
                return;
            }
            let delivered = self.metrics.delivered.with_label_values(&[self.sink.name()]);
            delivered.inc_by(batch.records());
            batch.acknowledge(self.sink.end());
        }
    }

    /// Writes all of `bytes`, however often it takes. Fails only for good.
    fn deliver(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let mut pause = MIN_PAUSE;
        let mut failing_since: Option<Instant> = None;
        let whole = bytes.len();
        while !bytes.is_empty() {
            let begun = if bytes.len() == whole {
                self.sink.begin()
            } else {
                Ok(())
            };
            let error = match begun.and_then(|()| self.sink.write(bytes)) {
                Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
                Ok(written) => {
                    bytes = &bytes[written..];
                    pause = MIN_PAUSE;
                    if let Some(since) = failing_since.take() {
                        let after = since.elapsed();
                        info!(sink = self.sink.name(), ?after, "sink writes again");
                        self.readiness.up("writing");
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let reason = reason(&error);
            let labels = [self.sink.name(), reason];
            self.metrics.errors.with_label_values(&labels).inc();
            if self.sink.is_fatal(&error) {
                return Err(error);
            }
            if failing_since.is_none() {
                failing_since = Some(Instant::now());
                let sink = self.sink.name();
                warn!(sink, %error, "cannot write; reading stops when the batches are full");
                self.readiness.down(&error.to_string());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Ok(())
    }
}

/// The `reason` label of `delivery_errors_total`: of a fixed set.
fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => "closed",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "no_space",
        io::ErrorKind::FileTooLarge => "too_large",
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "permission",
        _ => "io",
    }
}
