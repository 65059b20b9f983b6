//! How often the runtime's thread looks at its sockets.
//!
//! The engine writes each line by itself. A thread that sleeps in `epoll_wait` is woken for
//! each, and that costs several times what the line does. So when lines are coming, the
//! thread first rests for a moment before it goes to wait: what comes meanwhile is read
//! together, in one look at all sockets. When none are coming it does not rest, so requests
//! and idle hours pay nothing. Nor does it where lines are so far apart that a rest would gather
//! none: then it is one more waking up.
//!
//! The rest must end before a socket's buffer is full, or the engine waits for us. A unix
//! socket's buffer holds 212,992 bytes of `skb->truesize` (`net.core.wmem_default`), at
//! least 768 for each write: some 277 lines. So the rest is adapted to the busiest stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Messages of the busiest read, above which the rest gets shorter: half a buffer.
const MANY: u64 = 138;
/// And below which it gets longer.
const FEW: u64 = 69;
/// Bytes of a read that stand for as much, where lines are long.
const MANY_BYTES: u64 = 80 * 1024;
/// A shorter rest saves nothing: about what waking up costs, with the timer's slack.
const SHORTEST: u64 = 100_000;

/// Shared between the streams, which say what they read, and the hook that rests.
#[derive(Debug)]
pub struct Pace {
    began: Instant,
    longest: u64,
    /// Nanoseconds.
    rest: AtomicU64,
    /// The most lines that one read brought since the last rest, or the like in bytes.
    busiest: AtomicU64,
    /// When something had been read last and the rest after it was over: nanoseconds since it began.
    last: AtomicU64,
}

impl Pace {
    /// Rests of at most `longest`; none at all when that is zero.
    pub fn new(longest: Duration) -> Self {
        let longest = nanos(longest);
        Self {
            began: Instant::now(),
            longest,
            rest: AtomicU64::new(longest),
            busiest: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// A stream has read.
    pub fn read(&self, lines: u64, bytes: usize) {
        let load = lines.max(bytes as u64 * MANY / MANY_BYTES).max(1);
        self.busiest.fetch_max(load, Ordering::Relaxed);
    }

    /// Called before the runtime's thread goes to wait for its sockets. `looks`: something is looked at after each rest, and
    /// not waited for.
    pub fn rest(&self, looks: bool) {
        let rest = self.next(|| nanos(self.began.elapsed()));
        let rest = rest.or_else(|| looks.then(|| Duration::from_nanos(self.longest)));
        if let Some(rest) = rest {
            std::thread::sleep(rest);
        }
    }

    fn next(&self, now: impl Fn() -> u64) -> Option<Duration> {
        let load = self.busiest.swap(0, Ordering::Relaxed);
        if load == 0 || self.longest == 0 {
            return None;
        }
        let now = now();
        let last = self.last.swap(now, Ordering::Relaxed);
        if now.saturating_sub(last) > self.longest {
            return None;
        }
        let rest = self.rest.load(Ordering::Relaxed);
        let next = if load > MANY {
            rest / 2
        } else if load < FEW {
            rest + rest / 4
        } else {
            rest
        };
        let next = next.clamp(SHORTEST.min(self.longest), self.longest);
        self.rest.store(next, Ordering::Relaxed);
        self.last.store(now + next, Ordering::Relaxed);
        Some(Duration::from_nanos(next))
    }
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: u64 = 1_000_000;

    #[test]
    fn rests_only_while_lines_come_and_adapts() {
        let pace = Pace::new(Duration::from_millis(10));
        let next = || pace.next(|| pace.last.load(Ordering::Relaxed));
        assert_eq!(next(), None);
        pace.read(1, 100);
        assert_eq!(next(), Some(Duration::from_millis(10)));
        for _ in 0..10 {
            pace.read(250, 50_000);
            next();
        }
        pace.read(100, 20_000);
        assert_eq!(next(), Some(Duration::from_nanos(SHORTEST)));
        for _ in 0..30 {
            pace.read(1, 100);
            next();
        }
        pace.read(1, 100);
        assert_eq!(next(), Some(Duration::from_millis(10)));
        assert_eq!(next(), None);
    }

    #[test]
    fn lines_that_are_far_apart_are_not_waited_for() {
        let pace = Pace::new(Duration::from_millis(10));
        let at = |milli: u64| {
            pace.read(1, 100);
            pace.next(|| milli * MILLI).is_some()
        };
        // The rest ends at 1,022.
        assert_eq!([1_000, 1_011, 1_012].map(at), [false, false, true]);
        assert_eq!(
            [1_023, 1_043, 1_064, 2_000, 2_010].map(at),
            [true, true, false, false, true]
        );
    }

    #[test]
    fn no_rest_when_told_so() {
        let pace = Pace::new(Duration::ZERO);
        pace.read(1_000, 100_000);
        assert_eq!(pace.next(|| 0), None);
    }
}
