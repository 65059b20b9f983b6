//! Keep-alive connections for short requests.
//!
//! deadpool keeps the books: the limit, the fair queue of those who wait, and a count that
//! stays right when a waiter is cancelled. What it does not know is HTTP: a connection whose
//! answer was not read to its end can serve nobody, so [`Lease`] closes it at once instead
//! of putting it back.
//!
//! Log streams and the event stream are not here. They hold a connection for as long as they
//! live and have budgets of their own, so short requests cannot starve behind them.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::{self, Object, PoolError, RecycleError, Timeouts};

use super::connection::{Connection, Opener};
use super::error::EngineError;
use crate::register::{Opening, Site};

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub max_size: usize,
    pub max_idle: usize,
    pub idle_timeout: Duration,
    pub max_age: Duration,
    pub wait_timeout: Duration,
}

#[derive(Clone)]
pub struct Pool {
    inner: managed::Pool<Manager>,
    opener: Arc<Opener>,
    size: Size,
}

struct Manager {
    opener: Arc<Opener>,
    max_age: Duration,
}

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = EngineError;

    async fn create(&self) -> Result<Connection, EngineError> {
        self.opener
            .open(Opening {
                site: Site::Pool,
                container: None,
            })
            .await
    }

    async fn recycle(&self, connection: &mut Connection, _: &managed::Metrics) -> managed::RecycleResult<EngineError> {
        if connection.opened().elapsed() >= self.max_age || !connection.is_reusable() {
            return Err(RecycleError::message("old, or closed by the peer"));
        }
        Ok(())
    }
}

impl Pool {
    pub fn new(opener: Arc<Opener>, size: Size) -> Self {
        let manager = Manager {
            opener: Arc::clone(&opener),
            max_age: size.max_age,
        };
        let config = managed::PoolConfig {
            max_size: size.max_size,
            // Connecting has a limit of its own.
            timeouts: Timeouts::wait_millis(u64::try_from(size.wait_timeout.as_millis()).unwrap_or(u64::MAX)),
            // The one used last: those that are not needed grow old and go.
            queue_mode: managed::QueueMode::Lifo,
        };
        let inner = managed::Pool::builder(manager)
            .config(config)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("a wait timeout has the runtime that it needs");
        Self { inner, opener, size }
    }

    /// A connection that is ready for a request: an idle one, or a new one.
    pub async fn lease(&self) -> Result<Lease, EngineError> {
        let asked = Instant::now();
        let object = self.inner.get().await;
        let waited = asked.elapsed().as_secs_f64();
        self.opener.metrics.pool_wait_seconds.observe(waited);
        match object {
            Ok(object) => Ok(Lease(Some(object))),
            Err(PoolError::Backend(error)) => Err(error),
            Err(_) => Err(EngineError::NoneFree {
                limit: self.size.wait_timeout,
            }),
        }
    }

    /// Closes what has been idle for too long, is too old, was closed by the peer, or is
    /// more than may be idle. The engine's side has no idle timeout: the client must reap.
    pub fn reap(&self) {
        let mut kept = 0;
        self.inner.retain(|connection, used| {
            let keep = kept < self.size.max_idle
                && used.last_used() < self.size.idle_timeout
                && connection.opened().elapsed() < self.size.max_age
                && connection.is_reusable();
            kept += usize::from(keep);
            keep
        });
    }

    /// Closes every idle connection and serves no further one.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let status = self.inner.status();
        let idle = status.available;
        let used = status.size.saturating_sub(idle);
        let active = self.opener.register.count().saturating_sub(idle);
        let metrics = &self.opener.metrics;
        metrics.idle.set(count(idle));
        metrics.active.set(count(active));
        metrics.connections.with_label_values(&["idle"]).set(count(idle));
        metrics.connections.with_label_values(&["active"]).set(count(active));
        metrics.utilization.set(used as f64 / self.size.max_size as f64);
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A connection on loan. What comes back unfit for another request is closed there and then.
pub struct Lease(Option<Object<Manager>>);

impl Lease {
    /// Whether it has served before.
    pub fn is_reused(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|object| Object::metrics(object).recycle_count > 0)
    }
}

const LENT: &str = "a lease holds its connection until it is dropped";

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.0.as_ref().expect(LENT)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        self.0.as_mut().expect(LENT)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.0.take()
            && !object.is_reusable()
        {
            drop(Object::take(object));
        }
    }
}
