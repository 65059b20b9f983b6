//! A thread for each sink that writes: it may block in `write(2)` for as long as its peer likes, and
//! wakes once a batch, so the one thread of the runtime never waits for it. A sink that sends to a store never blocks, and is a
//! task.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout_at;
use tracing::{info, warn};

use super::account::Outcome;
use super::dead::DeadLetters;
use super::had::Had;
use super::intake::Intake;
use super::metrics::Metrics;
use super::named::Target;
use super::network::Courier;
use super::sink::Sink;
use super::spool::{self, Before, Options};
use super::window::Order;
use crate::engine::Endpoint;
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
struct Writer {
    name: String,
    sink: Box<dyn Sink>,
    had: Had,
    intake: Intake,
    metrics: Metrics,
    readiness: Part,
    failures: Arc<Failures>,
}

/// The threads and tasks of all sinks.
pub struct Writers {
    threads: Vec<JoinHandle<()>>,
    tasks: JoinSet<()>,
    running: Vec<AbortHandle>,
    /// Where the tasks send to.
    endpoints: Vec<Arc<Endpoint>>,
    failures: Arc<Failures>,
}

#[derive(Default)]
struct Failures {
    first: Mutex<Option<Fatal>>,
    told: Notify,
}

impl Failures {
    fn tell(&self, fatal: Fatal) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(fatal);
        drop(first);
        self.told.notify_one();
    }
}

/// Tells of a task that panics while this lives.
struct Alarm {
    sink: String,
    failures: Arc<Failures>,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.failures.tell(Fatal {
                sink: std::mem::take(&mut self.sink),
                source: io::Error::other("its task has panicked, please report this"),
            });
        }
    }
}

impl Writers {
    /// Starts a thread for each sink, which takes its batches from the intake beside it.
    pub fn start(
        sinks: impl IntoIterator<Item = (Box<dyn Sink>, Had, Intake)>,
        metrics: &Metrics,
        readiness: &Readiness,
    ) -> io::Result<Self> {
        let mut all = Self {
            threads: Vec::new(),
            tasks: JoinSet::new(),
            running: Vec::new(),
            endpoints: Vec::new(),
            failures: Arc::default(),
        };
        for (sink, had, intake) in sinks {
            let name = intake.name().to_owned();
            let part = readiness.part(&format!("sink {name}"));
            part.up("writing");
            let thread = std::thread::Builder::new().name(format!("sink-{name}"));
            let writer = Writer {
                metrics: metrics.clone(),
                readiness: part,
                failures: Arc::clone(&all.failures),
                name,
                sink,
                had,
                intake,
            };
            all.threads
                .push(thread.stack_size(128 << 10).spawn(move || writer.run())?);
        }
        Ok(all)
    }

    /// Starts a task that sends to a store, and spools what the store does not take, where `options` say how. It must be
    /// called within a tokio runtime.
    pub fn send(
        &mut self,
        target: Target,
        intake: Intake,
        (before, options): (Before, Option<&Options>),
        metrics: &Metrics,
        readiness: &Readiness,
        dead: Option<DeadLetters>,
    ) -> io::Result<()> {
        let Target {
            store,
            credentials,
            protocol,
        } = target;
        self.endpoints.push(Arc::clone(store.endpoint()));
        let part = readiness.part(&format!("sink {}", intake.name()));
        let name = intake.name().to_owned();
        let (supply, keeper) = spool::supply(intake, before, options, metrics, readiness)?;
        let courier = Courier::new(store, credentials, protocol, supply, metrics, part, dead);
        self.spawn(name, async move {
            // At the end the keeper has everything safe, and nobody waits for the store.
            tokio::select! {
                () = courier.run() => {}
                () = keeper.run() => {}
            }
        });
        Ok(())
    }

    /// A panic of the task is told as a thread's is.
    fn spawn(&mut self, sink: String, task: impl Future<Output = ()> + Send + 'static) {
        let alarm = Alarm {
            sink,
            failures: Arc::clone(&self.failures),
        };
        self.running.push(self.tasks.spawn(async move {
            let _alarm = alarm;
            task.await;
        }));
    }

    /// Ends the tasks, whatever they have left to do, and closes their connections.
    pub async fn end(&mut self, deadline: tokio::time::Instant) {
        self.tasks.shutdown().await;
        for endpoint in &self.endpoints {
            let _ = timeout_at(deadline, endpoint.at_rest()).await;
        }
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

    /// Whether every sink has delivered all that it was given.
    pub fn are_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished) && self.running.iter().all(AbortHandle::is_finished)
    }
}

impl Writer {
    fn run(mut self) {
        let source = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => return,
            Ok(Err(source)) => source,
            Err(_) => io::Error::other("its thread has panicked, please report this"),
        };
        let fatal = Fatal {
            sink: self.name,
            source,
        };
        self.readiness.down(&fatal.to_string());
        self.failures.tell(fatal);
    }

    /// Does what there is to do until nothing more comes. Fails only for good.
    fn serve(&mut self) -> io::Result<()> {
        while let Some(order) = self.intake.wait() {
            match order {
                Order::Batch(batch) => {
                    if self.had.is_empty() {
                        self.deliver(batch.records().text())?;
                    } else {
                        let new = self.had.without(batch.records());
                        self.deliver(new.text())?;
                    }
                    let delivered = self.metrics.delivered.with_label_values(&[&self.name]);
                    delivered.inc_by(batch.records().len() as u64);
                    let all = 0..batch.records().len();
                    self.intake.settled(batch.records(), all, Outcome::Delivered);
                    self.intake.acknowledge(batch);
                }
                Order::Mark(ticket) => {
                    let mut mark = self.sink.mark()?;
                    if let Some(mark) = &mut mark {
                        mark.had = self.had.saved()?;
                    }
                    self.intake.tell(ticket, mark);
                }
                Order::Reopen => match self.sink.reopen() {
                    Err(error) if self.sink.is_fatal(&error) => return Err(error),
                    Err(error) => {
                        warn!(sink = self.name, %error, "cannot be opened anew; it is tried again with the next batch");
                    }
                    Ok(()) => {}
                },
            }
        }
        Ok(())
    }

    /// Writes all of `batch`, however often it takes. Fails only for good.
    fn deliver(&mut self, batch: &[u8]) -> io::Result<()> {
        let mut pause = MIN_PAUSE;
        let mut failing_since: Option<Instant> = None;
        let (mut written, mut is_first) = (0, true);
        while written < batch.len() {
            let ready = if std::mem::take(&mut is_first) {
                self.sink.begin()
            } else {
                self.sink.resume(batch, written).map(|from| written = from)
            };
            let error = match ready.and_then(|()| self.sink.write(&batch[written..])) {
                Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
                Ok(more) => {
                    written += more;
                    pause = MIN_PAUSE;
                    if let Some(since) = failing_since.take() {
                        let after = since.elapsed();
                        info!(sink = self.name, ?after, "sink writes again");
                        self.readiness.up("writing");
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            self.metrics
                .errors
                .with_label_values(&[&*self.name, reason(&error)])
                .inc();
            if self.sink.is_fatal(&error) {
                return Err(error);
            }
            if failing_since.is_none() {
                failing_since = Some(Instant::now());
                warn!(sink = self.name, %error, "cannot write; reading stops when the batches are full");
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

#[cfg(test)]
mod tests;
