//! Keep-alive connections for short requests.
//!
//! | file | what is in it |
//! |---|---|
//! | `pooled` | a connection with what the pool knows of it; counted while it lives |
//! | `scale` | how many there shall be; pure |
//! | `checks` | when one is pinged, and when it is taken for healthy; pure |
//! | `health` | pings over idle connections |
//!
//! A place (a permit of a fair semaphore) is held by whoever uses a connection: a request, a ping, or the opening of one
//! ahead of need. An idle connection holds none, and a new one is opened only where none is idle. So there are never
//! more connections than places, and a task that is cancelled, wherever it waits, gives its place back by its drop.
//!
//! Log streams and the event stream are not here. They hold a connection for as long as they live and have budgets of
//! their own, so short requests cannot starve behind them.

mod checks;
mod health;
mod pooled;
mod scale;
#[cfg(test)]
mod tests;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use self::pooled::Pooled;
use self::scale::Load;
use super::error::EngineError;
use super::guard::Refusal;
use super::transport::{Connection, Opener, TransportError};
use crate::register::{Opening, Site};

pub use checks::Checks;
pub(super) use health::Check;
pub use scale::Size;

#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    opener: Arc<Opener>,
    size: Size,
    checks: Checks,
    places: Arc<Semaphore>,
    /// The engine, or a proxy before it, does not answer `/_ping`.
    no_ping: AtomicBool,
    state: Mutex<State>,
}

/// What tells that an engine answers.
const PING: &str = "/_ping";
/// The same where a ping is not allowed.
pub(super) const VERSION: &str = "/version";

struct State {
    /// Unhealthy ones among them.
    idle: Vec<Pooled>,
    load: Load,
    /// Unhealthy, and their ping is still waited for: in use, and not of use.
    isolated: usize,
    closed: bool,
}

impl Pool {
    pub fn new(opener: Arc<Opener>, size: Size, checks: Checks) -> Self {
        Self(Arc::new(Shared {
            opener,
            size,
            checks,
            places: Arc::new(Semaphore::new(size.max_size)),
            no_ping: AtomicBool::new(false),
            state: Mutex::new(State {
                idle: Vec::new(),
                load: Load::new(Instant::now()),
                isolated: 0,
                closed: false,
            }),
        }))
    }

    /// A connection that is ready for a request: an idle one, or a new one.
    pub async fn lease(&self) -> Result<Lease, EngineError> {
        // Observes when dropped, so also for one who gives up.
        let _waited = self.0.opener.metrics.pool_wait_seconds.start_timer();
        let place = self.place().await?;
        let taken = self.0.state().take(&self.0);
        let (pooled, is_reused) = match taken {
            Some(pooled) => {
                self.0.count("reuse");
                (pooled, true)
            }
            None => (self.open().await?, false),
        };
        Ok(Lease {
            pooled: Some(pooled),
            is_reused,
            place,
        })
    }

    /// What idle connections are asked to see whether they are well.
    pub fn ping_path(&self) -> &'static str {
        if self.0.no_ping.load(Ordering::Relaxed) {
            VERSION
        } else {
            PING
        }
    }

    /// Whether a ping is answered as an engine answers it.
    pub fn can_ping(&self, can: bool) {
        self.0.no_ping.store(!can, Ordering::Relaxed);
    }

    async fn place(&self) -> Result<Place, EngineError> {
        let shared = &self.0;
        let free = Arc::clone(&shared.places).try_acquire_owned();
        let permit = match free {
            Ok(permit) => permit,
            Err(_) => {
                shared.count("wait");
                let limit = shared.size.wait_timeout;
                let waited = timeout(limit, Arc::clone(&shared.places).acquire_owned()).await;
                let permit = waited.map_err(|_| Refusal::NoneFree { limit })?;
                permit.map_err(|_| TransportError::Closed)?
            }
        };
        Ok(Place::new(permit, self))
    }

    async fn open(&self) -> Result<Pooled, TransportError> {
        let opening = Opening {
            site: Site::Pool,
            container: None,
        };
        let connection = self.0.opener.open(opening).await?;
        Ok(Pooled::new(connection, Arc::clone(&self.0.opener.metrics)))
    }

    /// Closes what is idle and is not needed, is too old, or was closed by the peer. The engine's side has no idle
    /// timeout: the client must reap.
    pub fn reap(&self) {
        let shared = &self.0;
        let mut state = shared.state();
        let now = Instant::now();
        let held = state.held();
        let wanted = state.load.look(held, &shared.size, now);
        let mut surplus = held.saturating_sub(wanted);
        // Those that were used least recently go first.
        state.idle.sort_by_key(|pooled| pooled.since);
        state.idle.retain(|pooled| {
            let idle_too_long = now - pooled.since >= shared.size.idle_timeout;
            let goes = !pooled.is_fit(shared.size.max_age) || (idle_too_long && surplus > 0);
            surplus -= usize::from(goes && surplus > 0);
            !goes
        });
    }

    /// Opens what shall be there ahead of need, one at a time.
    pub async fn fill(&self) -> Result<(), TransportError> {
        loop {
            let place = {
                let state = self.0.state();
                let lacks = state.held() < state.load.wanted() && state.idle.len() < self.0.size.max_idle;
                let free = Arc::clone(&self.0.places).try_acquire_owned();
                match free {
                    Ok(permit) if lacks && !state.closed => permit,
                    _ => return Ok(()),
                }
            };
            let place = Place::new(place, self);
            Lease::new(self.open().await?, place).put_back(None);
        }
    }

    /// Closes every idle connection and serves no further one.
    pub fn close(&self) {
        self.0.places.close();
        let mut state = self.0.state();
        state.closed = true;
        state.idle.clear();
    }

    /// Brings the gauges up to date.
    pub fn observe(&self) {
        let shared = &self.0;
        let state = shared.state();
        let unhealthy_idle = state
            .idle
            .iter()
            .filter(|pooled| !shared.checks.is_healthy(pooled))
            .count();
        let idle = state.idle.len() - unhealthy_idle;
        let unhealthy = unhealthy_idle + state.isolated;
        let used = state.load.in_use();
        drop(state);
        // Streams too: whatever is open and in nobody's way.
        let active = shared.opener.register.count().saturating_sub(idle + unhealthy);
        let metrics = &shared.opener.metrics;
        metrics.idle.set(count(idle));
        metrics.active.set(count(active));
        for (state, number) in [("idle", idle), ("active", active), ("unhealthy", unhealthy)] {
            metrics.connections.with_label_values(&[state]).set(count(number));
        }
        metrics.utilization.set(used as f64 / shared.size.max_size as f64);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps it for the next request, or closes it.
    fn put_back(&self, pooled: Pooled) {
        if !pooled.is_fit(self.size.max_age) {
            return;
        }
        let mut state = self.state();
        if !state.closed && state.idle.len() < self.size.max_idle {
            state.idle.push(pooled);
            self.count("recycle");
        }
    }

    fn count(&self, operation: &str) {
        self.opener
            .metrics
            .pool_operations
            .with_label_values(&[operation])
            .inc();
    }
}

impl State {
    fn held(&self) -> usize {
        self.idle.len() + self.load.in_use()
    }

    /// The healthy connection that was used least. What is found unfit on the way is closed, and where only unhealthy
    /// ones are left one of them makes room for the new one.
    fn take(&mut self, shared: &Shared) -> Option<Pooled> {
        loop {
            let idle = self.idle.iter().enumerate();
            let healthy = idle.filter(|(_, pooled)| shared.checks.is_healthy(pooled));
            let Some((at, _)) = healthy.min_by_key(|(_, pooled)| (pooled.failures, pooled.uses)) else {
                // This request's place is counted already.
                if self.held() > shared.size.max_size {
                    self.idle.pop();
                }
                return None;
            };
            let pooled = self.idle.swap_remove(at);
            if pooled.is_fit(shared.size.max_age) {
                return Some(pooled);
            }
        }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// The right to use one connection.
struct Place {
    pool: Pool,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, pool: &Pool) -> Self {
        pool.0.state().load.begins(Instant::now());
        Self {
            pool: pool.clone(),
            _permit: permit,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the permit goes: who gets it next finds the state right.
        self.pool.0.state().load.ends(Instant::now());
    }
}

/// A connection on loan. What comes back unfit for another request is closed there and then.
pub struct Lease {
    pooled: Option<Pooled>,
    is_reused: bool,
    // Dropped last: the connection is idle, or closed, before another takes its place.
    place: Place,
}

impl Lease {
    fn new(pooled: Pooled, place: Place) -> Self {
        Self {
            pooled: Some(pooled),
            is_reused: true,
            place,
        }
    }

    /// It was not used, or for a ping only: what is not needed grows old in spite of that.
    fn put_back(mut self, checked: Option<Instant>) {
        if let Some(mut pooled) = self.pooled.take() {
            pooled.checked = checked;
            self.place.pool.0.put_back(pooled);
        }
    }

    fn close(mut self) {
        self.pooled = None;
    }

    fn pooled(&self) -> &Pooled {
        self.pooled.as_ref().expect(LENT)
    }

    fn connection_mut(&mut self) -> &mut Pooled {
        self.pooled.as_mut().expect(LENT)
    }

    /// Whether it was idle, so that the peer may have closed it meanwhile.
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }
}

const LENT: &str = "a lease holds its connection until it is dropped";

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.pooled().connection
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection_mut().connection
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(mut pooled) = self.pooled.take() {
            pooled.uses += 1;
            pooled.since = Instant::now();
            pooled.checked = Some(pooled.since);
            self.place.pool.0.put_back(pooled);
        }
    }
}
