//! What capture does on an engine in miniature, with the clock of the tests.

mod broken;
mod clocks;
mod ends;
mod engine;
mod policies;
mod repeats;
mod rules;

use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::engine::Engine;
use super::*;
use crate::config;
use crate::delivery::{Bounds, Intake, Order, Outbox};
use crate::engine::{self as client, Endpoint, Limits, Opener};
use crate::pace::Pace;
use crate::readiness::Readiness;
use crate::record::Time;
use crate::register::Register;
use crate::source::Source;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// When the containers began to write. Not a whole microsecond: a driver's clock is not coarse.
const BEGAN: i64 = 1_795_187_098_000_000_001;

/// What capture works with, and a sink's end of its outbox, of which each batch is one record.
pub(super) fn services(socket: &std::path::Path, slots: usize, positions: Positions) -> (Services, Intake) {
    let registry = crate::metrics::registry().unwrap();
    let delivery = crate::delivery::Metrics::new(&registry).unwrap();
    let metrics = Arc::new(Metrics::new(&registry, &delivery).unwrap());
    let register = Register::new(None);
    let opener = Opener {
        endpoint: Endpoint::unix(socket).into(),
        register: register.clone(),
        limits: Limits {
            connect: SECOND,
            head: SECOND,
            body: SECOND,
        },
        metrics: Arc::new(client::Metrics::new(&registry).unwrap()),
    };
    let asked = client::Options::from(&config::Docker::default());
    let engine = client::Engine::new(opener, asked);
    let bounds = Bounds {
        batch_bytes: 1,
        max_batches: 100_000,
        flush_interval: SECOND,
    };
    let (outbox, mut intakes) = Outbox::new(bounds, ["file".to_owned()]);
    let limits = SlotLimits {
        streams: slots,
        spare: slots,
    };
    let services = Services {
        source: Source::new(engine.clone(), None, true, 1 << 20),
        engine,
        register,
        outbox,
        host: Host::default(),
        to_stdout: false,
        positions,
        unseen_since: Time(0),
        stream_room: usize::MAX,
        slots: Slots::new(limits, Arc::clone(&metrics)),
        probes: Probes::default(),
        standstills: Standstills::default(),
        pace: Arc::new(Pace::new(Duration::ZERO)),
        metrics,
        is_released: Box::new(|_| None),
        retry: asked.retry,
    };
    (services, intakes.remove(0))
}

/// What a configuration's `capture` says.
pub(super) fn policy(capture: &str) -> Policy {
    let capture: config::Capture = serde_saphyr::from_str(capture).unwrap();
    Policy {
        selection: Selection::try_from(&capture).unwrap(),
        start: None,
        options: Options::try_from(&capture).unwrap(),
        host: "host".into(),
        fields: (&capture).try_into().unwrap(),
        slots: (&capture).into(),
        rotation: (&capture.rotation).into(),
        silence: (&capture.silence).into(),
    }
}

/// Capture at work.
struct Agent {
    policies: Policies,
    metrics: Arc<Metrics>,
    positions: Positions,
    records: Arc<Mutex<Vec<Value>>>,
    stop: oneshot::Sender<()>,
    capture: JoinHandle<()>,
    sink: JoinHandle<()>,
}

impl Agent {
    fn start(engine: &Engine, capture: &str) -> Self {
        Self::start_with(engine, capture, 50, Positions::default())
    }

    fn start_with(engine: &Engine, capture: &str, slots: usize, positions: Positions) -> Self {
        let (services, mut intake) = services(engine.path(), slots, positions.clone());
        let (metrics, policies) = (Arc::clone(&services.metrics), Policies::new(policy(capture)));
        let records = Arc::<Mutex<Vec<Value>>>::default();
        let written = Arc::clone(&records);
        let sink = tokio::spawn(async move {
            while let Some(order) = intake.next().await {
                if let Order::Batch(batch) = order {
                    let record = serde_json::from_slice(batch.records().text()).unwrap();
                    written.lock().unwrap_or_else(PoisonError::into_inner).push(record);
                    intake.acknowledge(batch);
                }
            }
        });
        let capture = Capture::new(services, &policies, Readiness::default().part("engine"));
        let (stop, stopped) = oneshot::channel();
        Self {
            policies,
            metrics,
            positions,
            records,
            stop,
            capture: tokio::spawn(capture.run(async move {
                let _ = stopped.await;
            })),
            sink,
        }
    }

    /// The lines of a container, in the order of their coming, each with the host that its record names.
    fn records(&self, name: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let of_container = records.iter().filter(|record| record["container"]["name"] == name);
        of_container
            .map(|record| (text(&record["line"]), text(&record["host"])))
            .collect()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.records(name).into_iter().map(|(line, _)| line).collect()
    }

    /// Waits until a container has brought so many lines, and for more of them.
    async fn settle(&self, name: &str, lines: usize) {
        for _ in 0..6_000 {
            if self.lines(name).len() >= lines {
                break;
            }
            sleep(SECOND / 10).await;
        }
        sleep(SECOND).await;
    }

    /// What all records of a container that had this name say of it, each once.
    fn described(&self, name: &str) -> Vec<Value> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let of_container = records.iter().filter(|record| record["container"]["name"] == name);
        let mut described: Vec<_> = of_container.map(|record| record["container"].clone()).collect();
        described.dedup();
        described
    }

    fn gaps(&self, name: &str) -> u64 {
        self.metrics.gaps.with_label_values(&[name]).get()
    }

    /// Stops capture; its positions are what is left.
    async fn stop(self) -> Positions {
        self.stop.send(()).unwrap();
        self.capture.await.unwrap();
        self.sink.abort();
        self.positions
    }
}

/// Lines with a time each, a step after the one before.
fn lines(numbers: std::ops::Range<i64>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}
