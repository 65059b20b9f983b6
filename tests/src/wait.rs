use std::thread::sleep;
use std::time::{Duration, Instant};

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
