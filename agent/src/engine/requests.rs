//! A request's way to the engine: the rate limit, the circuit breaker, a connection, and once more where that helps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::error::EngineError;
use super::guard::Health;
use super::guard::Retry;
use super::guard::{Breaker, Call, Outcome};
use super::guard::{Queue, RateLimit};
use super::metrics::Metrics;
use super::options::Options;
use super::pool::{Check, Pool};
use super::shorten::{Limit, Shortened};
use super::transport::{Answer, Connection, Head, Opener, Streamed, TransportError};
use crate::register::{Opening, Purpose};

pub(super) struct Requests {
    pool: Pool,
    opener: Arc<Opener>,
    breaker: Breaker,
    rate: RateLimit,
    retry: Retry,
    health: Arc<Health>,
}

impl Requests {
    pub(super) fn new(opener: Opener, options: Options) -> Self {
        let opener = Arc::new(opener);
        Self {
            pool: Pool::new(Arc::clone(&opener), options.size, options.checks),
            breaker: Breaker::new(options.thresholds, Arc::clone(&opener.metrics), "the engine"),
            rate: RateLimit::new(options.rate),
            retry: options.retry,
            health: Arc::new(Health::new(options.signs)),
            opener,
        }
    }

    pub(super) fn host(&self) -> &str {
        self.opener.endpoint.shown()
    }

    pub(super) async fn at_rest(&self) {
        self.opener.endpoint.at_rest().await;
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(super) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Opens what the pool shall hold ahead of need. Not while the engine is in doubt: requests find out by themselves.
    pub(super) async fn fill(&self) {
        if !self.breaker.is_closed() {
            return;
        }
        if let Err(error) = self.pool.fill().await
            && let Ok(call) = self.breaker.enter()
        {
            call.ended(Outcome::Failure, || error.to_string());
        }
    }

    /// Pings a connection, where the engine is asked at all.
    pub(super) async fn check(&self, check: Check) {
        let Ok(call) = self.breaker.enter() else {
            return check.later();
        };
        let first = Mutex::new(Some(call));
        check
            .run(|heard| {
                self.health.pinged(heard.map_err(drop));
                // The first call of a ping that is late again and again has ended already.
                let call = first.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(call) = call.or_else(|| self.breaker.enter().ok()) {
                    match heard {
                        Ok(_) => self.ended(call, Outcome::Success, String::new),
                        Err(error) => self.ended(call, Outcome::Failure, || error.to_string()),
                    }
                }
            })
            .await;
    }

    pub(super) fn refuses_for(&self) -> Option<Duration> {
        match self.breaker.check() {
            Err(refusal) => refusal.retry_in(),
            Ok(()) => None,
        }
    }

    /// A short request, of which the whole answer is read. They all only ask, so each can be repeated.
    /// `purpose` tells whom it is about: the engine, or one container's log.
    pub(super) async fn short(
        &self,
        purpose: Purpose,
        endpoint: &'static str,
        path: &str,
        limit: Limit,
    ) -> Result<Answer, EngineError> {
        let mut delays = self.retry.delays();
        self.counted(endpoint, async {
            for _ in 1..self.retry.max_attempts {
                match self
                    .attempt(purpose, endpoint, || self.get(endpoint, path, limit))
                    .await
                {
                    Err(error) if error.may_pass_soon() => sleep(delays.grown()).await,
                    result => return result,
                }
            }
            self.attempt(purpose, endpoint, || self.get(endpoint, path, limit))
                .await
        })
        .await
    }

    /// A request whose answer goes on, over a connection of its own. Not repeated here: who follows knows from where.
    pub(super) async fn long<T, F: Future<Output = Result<Streamed<T>, TransportError>>>(
        &self,
        endpoint: &'static str,
        opening: Opening,
        path: &str,
        ask: impl FnOnce(Connection) -> F,
    ) -> Result<T, EngineError> {
        let purpose = opening.site.purpose();
        let request = || async {
            match ask(self.opener.open(opening).await?).await? {
                Streamed::Open(stream) => Ok(stream),
                Streamed::Refused(answer) => Err(EngineError::of_answer(path, &answer)),
            }
        };
        self.counted(endpoint, self.attempt(purpose, endpoint, request)).await
    }

    /// One attempt: when the rate allows it, and only while the engine is asked at all. A request is made on the heap, and
    /// then only: it takes 13 KiB, and hundreds may wait for their turn.
    async fn attempt<T, F: Future<Output = Result<T, EngineError>>>(
        &self,
        purpose: Purpose,
        endpoint: &'static str,
        request: impl FnOnce() -> F,
    ) -> Result<T, EngineError> {
        self.breaker.check()?;
        let queue = if purpose == Purpose::Logs {
            Queue::Streams
        } else {
            Queue::Control
        };
        self.rate.pass(queue).await?;
        let call = self.breaker.enter()?;
        let result = Box::pin(request()).await;
        self.ended(call, outcome(endpoint, &result), || {
            result.as_ref().err().map(ToString::to_string).unwrap_or_default()
        });
        result
    }

    fn ended(&self, call: Call<'_>, outcome: Outcome, cause: impl Fn() -> String) {
        let was_closed = self.breaker.is_closed();
        call.ended(outcome, cause);
        if !was_closed && self.breaker.is_closed() {
            self.health.answers_again();
        }
    }

    async fn get(&self, endpoint: &'static str, path: &str, limit: Limit) -> Result<Answer, EngineError> {
        let answer = loop {
            let mut lease = self.pool.lease().await?;
            let mut text = Shortened::new(limit);
            let time = limit.time.unwrap_or(self.opener.limits.body);
            match lease.get_within(time, path, |data| text.add(data)).await {
                // An idle connection may be closed by the peer just as it is taken (hyper#3553): that says nothing of
                // the engine, and another one is taken.
                Err(TransportError::Closed) if lease.is_reused() => {}
                Err(TransportError::TooLarge) => {
                    let limit = limit.text;
                    return Err(EngineError::TooLarge { endpoint, limit });
                }
                Err(error) => return Err(error.into()),
                Ok(Head { status, headers }) => {
                    let body = text.finish().into();
                    break Answer { status, headers, body };
                }
            }
        };
        if answer.status != 200 {
            return Err(EngineError::of_answer(path, &answer));
        }
        Ok(answer)
    }

    /// Counts a request's outcome and its time.
    async fn counted<T>(
        &self,
        endpoint: &'static str,
        request: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let began = Instant::now();
        let result = request.await;
        let metrics: &Metrics = &self.opener.metrics;
        let status = match &result {
            Ok(_) => Some(200),
            Err(error) => error.status(),
        };
        if let Some(status) = status {
            let status = status.to_string();
            metrics.requests.with_label_values(&[endpoint, &status]).inc();
        }
        match &result {
            Ok(_) => {
                let seconds = began.elapsed().as_secs_f64();
                let operation = metrics.operation_seconds.with_label_values(&[endpoint]);
                operation.observe(seconds);
            }
            Err(error) => {
                let reason = error.reason();
                metrics.errors.with_label_values(&[endpoint, reason]).inc();
            }
        }
        result
    }
}

/// Whether a request asks for the engine itself, and not for its containers.
fn is_of_engine(endpoint: &str) -> bool {
    matches!(endpoint, "ping" | "version" | "info" | "events")
}

/// What a request's outcome says of the engine as a whole. One container can be broken, or take for ever, on an engine
/// that serves all others, and spoil the list, too. So of its containers only a connection that cannot be opened counts
/// against the engine.
fn outcome<T>(endpoint: &str, result: &Result<T, EngineError>) -> Outcome {
    match result {
        Ok(_) => Outcome::Success,
        // The agent's own want.
        Err(error) if error.is_of_descriptors() => Outcome::Nothing,
        Err(EngineError::Transport(
            TransportError::Connect(_) | TransportError::Resolve(_) | TransportError::Tls(_),
        )) => Outcome::Failure,
        // It answers. 501 is of a log driver that cannot be read.
        Err(EngineError::Status {
            status: ..=499 | 501, ..
        }) => Outcome::Success,
        Err(_) if !is_of_engine(endpoint) => Outcome::Nothing,
        Err(EngineError::Status { .. } | EngineError::Transport(_)) => Outcome::Failure,
        Err(_) => Outcome::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Refusal;
    use super::*;

    #[test]
    fn one_broken_container_says_nothing_of_the_engine() {
        let status = |status| {
            Err::<(), _>(EngineError::Status {
                status,
                message: String::new(),
            })
        };
        for endpoint in ["ping", "events", "list", "inspect", "logs", "probe"] {
            let connect = |kind: std::io::Error| Err::<(), EngineError>(TransportError::Connect(kind).into());
            let refused = connect(std::io::ErrorKind::NotFound.into());
            assert_eq!(outcome(endpoint, &refused), Outcome::Failure);
            // EMFILE and ENFILE.
            for errno in [24, 23] {
                let short = connect(std::io::Error::from_raw_os_error(errno));
                assert_eq!(outcome(endpoint, &short), Outcome::Nothing);
            }
            assert_eq!(outcome(endpoint, &Ok(())), Outcome::Success);
            assert_eq!(outcome(endpoint, &status(404)), Outcome::Success);
            assert_eq!(outcome(endpoint, &status(501)), Outcome::Success);
            let of_all = if ["ping", "events"].contains(&endpoint) {
                Outcome::Failure
            } else {
                Outcome::Nothing
            };
            assert_eq!(outcome(endpoint, &status(500)), of_all);
            assert_eq!(outcome(endpoint, &Err::<(), _>(TransportError::Closed.into())), of_all);
            let busy = Refusal::NoneFree { limit: Duration::ZERO };
            assert_eq!(outcome(endpoint, &Err::<(), _>(busy.into())), Outcome::Nothing);
        }
    }
}
