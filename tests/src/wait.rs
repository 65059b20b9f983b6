//! Waiting for a condition, up to a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a test waits for what is sure to come. It costs nothing where it comes soon, and says nothing of how soon it has to
/// come: a machine that builds something else meanwhile takes several times as long for everything.
pub const PATIENCE: Duration = Duration::from_secs(60);

const STEP: Duration = Duration::from_millis(50);

/// Polls until `found` gives something, and panics at the deadline with what was waited for.
pub fn until<T>(what: &str, deadline: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = found() {
            return it;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        sleep(STEP);
    }
}
