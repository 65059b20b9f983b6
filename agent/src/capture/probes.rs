//! When the engine is asked about silent streams: seldom, and not about many at once.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::config;

/// Between two questions, whatever the number of silent streams: at most four of them a second. Each has the engine open and
/// search a log.
const BETWEEN: Duration = Duration::from_millis(250);

/// How often silent streams are looked after.
#[derive(Clone, Copy, Debug)]
pub struct Intervals {
    /// The silence after which the engine is asked first; the next questions come later and later.
    pub probe_after: Duration,
    /// The longest time from one question to the next.
    pub max_interval: Duration,
}

impl From<&config::Silence> for Intervals {
    fn from(silence: &config::Silence) -> Self {
        Self {
            probe_after: silence.probe_after,
            max_interval: silence.max_interval,
        }
    }
}

/// Questions of all silent streams: not too many of them at a time. None waits for the answer to another.
#[derive(Debug)]
pub struct Probes {
    next: Mutex<Instant>,
}

impl Default for Probes {
    /// No question is waiting yet: the first is asked at once.
    fn default() -> Self {
        Self {
            next: Mutex::new(Instant::now()),
        }
    }
}

impl Probes {
    /// Waits for the next question's turn.
    pub async fn turn(&self) {
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + BETWEEN;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn questions_keep_a_distance() {
        let probes = Arc::new(Probes::default());
        let began = Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..21 {
            let probes = Arc::clone(&probes);
            asking.spawn(async move { probes.turn().await });
        }
        asking.join_all().await;
        assert_eq!(began.elapsed(), 20 * BETWEEN);
    }
}
