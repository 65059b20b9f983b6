//! One request to a store, again and again, until the store has said something that is final.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use super::super::metrics::Metrics;
use super::credentials::Credentials;
use super::verdict::{Bad, Verdict};
use super::{Protocol, Request};
use crate::engine::{Delays, Store};
use crate::readiness::Part;

/// A store that refuses everything is asked again after this. Changed credentials are tried at once.
const HOLD: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile whether they have changed.
const LOOK: Duration = Duration::from_millis(500);
/// The beginning of what a store says is shown.
const SHOWN: usize = 300;

/// What a store has said for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// All but `rejected` records. The store may have had them before, too.
    Stored {
        again: bool,
        rejected: u64,
    },
    Split,
    Bad(Bad),
}

/// What asks the store of one sink.
pub(super) struct Attempts {
    sink: String,
    store: Store,
    credentials: Credentials,
    metrics: Metrics,
    part: Part,
    /// Since when the store takes nothing.
    failing_since: Option<Instant>,
    /// Why only a person can mend that.
    held: Option<&'static str>,
    /// The file of the secret could not be read. What was read before still counts.
    is_unread: bool,
    /// What the store has said last, where it was not that all is well.
    said: String,
}

impl Attempts {
    pub(super) fn new(sink: &str, store: Store, credentials: Credentials, metrics: Metrics, part: Part) -> Self {
        part.up("delivering");
        Self {
            sink: sink.to_owned(),
            store,
            credentials,
            metrics,
            part,
            failing_since: None,
            held: None,
            is_unread: false,
            said: String::new(),
        }
    }

    /// Waits for `future`, with an eye on the connection.
    pub(super) async fn meanwhile<F: Future>(&mut self, future: F) -> F::Output {
        self.store.meanwhile(future).await
    }

    /// What the store has said of the last request that it refused.
    pub(super) fn said(&self) -> &str {
        &self.said
    }

    /// Sends a request until its answer is final. It is the same request each time, byte for byte: a store can know it again.
    pub(super) async fn settle(&mut self, protocol: &dyn Protocol, request: &Request) -> Answer {
        let mut delays = Store::delays();
        let mut may_be_stored = false;
        loop {
            let pause = match self.post(protocol, request, &mut may_be_stored, &mut delays).await {
                stored @ (Verdict::Stored | Verdict::Partly(_)) => {
                    self.is_well();
                    let again = may_be_stored;
                    let rejected = if let Verdict::Partly(rejected) = stored {
                        rejected
                    } else {
                        0
                    };
                    return Answer::Stored { again, rejected };
                }
                Verdict::Split => return Answer::Split,
                Verdict::Bad(bad) => return Answer::Bad(bad),
                Verdict::Hold(reason) => {
                    self.hold(reason).await;
                    None
                }
                Verdict::Later(pause) => pause,
            };
            if let Some(pause) = pause {
                self.meanwhile(sleep(pause)).await;
            }
            self.metrics.network.retries.with_label_values(&[&self.sink]).inc();
        }
    }

    /// Sends it once. [`Verdict::Later`] comes with the pause that is due.
    async fn post(
        &mut self,
        protocol: &dyn Protocol,
        request: &Request,
        may_be_stored: &mut bool,
        delays: &mut Delays,
    ) -> Verdict {
        self.refresh();
        let mut headers = protocol.headers();
        headers.extend(self.credentials.headers());
        let began = Instant::now();
        let reply = match self.store.post(&headers, request.body.clone()).await {
            Ok(reply) => reply,
            Err(error) => {
                *may_be_stored |= error.is_sent;
                self.failing(error.reason, &error.to_string());
                return Verdict::Later(Some(error.retry_in.unwrap_or_else(|| delays.grown())));
            }
        };
        let network = &self.metrics.network;
        let status = reply.status.to_string();
        network.requests.with_label_values(&[&*self.sink, &*status]).inc();
        let seconds = network.seconds.with_label_values(&[&self.sink]);
        seconds.observe(began.elapsed().as_secs_f64());
        let verdict = protocol.verdict(&reply);
        if verdict != Verdict::Stored {
            self.said = shown(reply.status, &protocol.words(&reply));
        }
        match verdict {
            Verdict::Later(after) => {
                *may_be_stored |= reply.status >= 500;
                let reason = if reply.status == 429 { "rate" } else { "status" };
                let said = format!("the store answers {}", self.said);
                self.failing(reason, &said);
                Verdict::Later(Some(after.unwrap_or_default().max(delays.grown())))
            }
            other => other,
        }
    }

    /// The store refuses everything, and so it will until a person has changed something. Waits for a while.
    pub(super) async fn hold(&mut self, reason: &'static str) {
        if self.held != Some(reason) {
            self.release();
            self.held = Some(reason);
            self.metrics
                .network
                .held
                .with_label_values(&[&*self.sink, reason])
                .set(1);
        }
        let said = format!("held ({reason}), nothing is dropped: the store answers {}", self.said);
        self.failing(reason, &said);
        let until = Instant::now() + HOLD;
        while Instant::now() < until {
            self.meanwhile(sleep(LOOK)).await;
            if self.refresh() {
                return;
            }
        }
    }

    /// Looks whether the secret has changed. That it cannot be read is told once.
    fn refresh(&mut self) -> bool {
        let refreshed = self.credentials.refresh();
        let was_unread = std::mem::replace(&mut self.is_unread, refreshed.is_err());
        refreshed.unwrap_or_else(|error| {
            if !was_unread {
                warn!(sink = self.sink, "{error}; what was read before still counts");
            }
            false
        })
    }

    fn failing(&mut self, reason: &str, said: &str) {
        self.metrics.errors.with_label_values(&[&*self.sink, reason]).inc();
        if self.failing_since.is_none() {
            self.failing_since = Some(Instant::now());
            warn!(sink = self.sink, "{said}; reading stops when the batches are full");
        }
        self.part.down(said);
    }

    fn is_well(&mut self) {
        self.release();
        if let Some(since) = self.failing_since.take() {
            info!(sink = self.sink, after = ?since.elapsed(), "sink delivers again");
            self.part.up("delivering");
        }
    }

    fn release(&mut self) {
        if let Some(reason) = self.held.take() {
            self.metrics
                .network
                .held
                .with_label_values(&[&*self.sink, reason])
                .set(0);
        }
    }
}

/// The status, and the beginning of what the store says, on one line.
fn shown(status: u16, words: &str) -> String {
    let text = words[..words.floor_char_boundary(SHOWN)].trim();
    match text.replace(char::is_control, " ").as_str() {
        "" => status.to_string(),
        text => format!("{status}: {text}"),
    }
}
