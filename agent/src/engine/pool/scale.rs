//! How many connections there shall be: pure.

use std::time::Duration;

use tokio::time::Instant;

/// Bounds of the pool.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Connections that are there also when nobody asks anything.
    pub min_size: usize,
    /// The most connections that there may be.
    pub max_size: usize,
    /// The most connections that are kept while nobody uses them.
    pub max_idle: usize,
    /// How long a connection that is not needed stays idle before it is closed.
    pub idle_timeout: Duration,
    /// The age from which a connection is no longer used.
    pub max_age: Duration,
    /// How long a request waits for a connection before it fails.
    pub wait_timeout: Duration,
    /// In use, of those that are there; above it some are opened ahead of need.
    pub target_utilization: f64,
    /// By what factor the pool grows when the utilization is above its target.
    pub growth_factor: f64,
}

/// How many are in use, on average since the last look: one request a minute is no load, although it uses all of the
/// one connection that there is.
#[derive(Debug)]
pub(super) struct Load {
    in_use: usize,
    /// The sum of the time that each was in use.
    busy: Duration,
    changed: Instant,
    looked: Instant,
    wanted: usize,
}

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            in_use: 0,
            busy: Duration::ZERO,
            changed: now,
            looked: now,
            wanted: 0,
        }
    }

    pub(super) fn begins(&mut self, now: Instant) {
        self.add_up(now);
        self.in_use += 1;
    }

    pub(super) fn ends(&mut self, now: Instant) {
        self.add_up(now);
        self.in_use -= 1;
    }

    pub(super) fn in_use(&self) -> usize {
        self.in_use
    }

    /// As of the last look.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// How many connections there shall be, of which `held` are there.
    pub(super) fn look(&mut self, held: usize, size: &Size, now: Instant) -> usize {
        self.add_up(now);
        let span = (now - self.looked).as_secs_f64();
        let load = if span > 0.0 {
            self.busy.as_secs_f64() / span
        } else {
            self.in_use as f64
        };
        self.busy = Duration::ZERO;
        self.looked = now;
        self.wanted = wanted(load, held, size);
        self.wanted
    }

    fn add_up(&mut self, now: Instant) {
        let count = u32::try_from(self.in_use).unwrap_or(u32::MAX);
        self.busy += (now - self.changed) * count;
        self.changed = now;
    }
}

/// Less of one connection's time is no load: a ping, a list now and then.
const NOTHING: f64 = 0.05;

fn wanted(load: f64, held: usize, size: &Size) -> usize {
    if load < NOTHING {
        return size.min_size;
    }
    let wanted = if load > held as f64 * size.target_utilization {
        held as f64 * size.growth_factor
    } else {
        load / size.target_utilization
    };
    (wanted.ceil() as usize).clamp(size.min_size, size.max_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Size {
        Size {
            min_size: 1,
            max_size: 10,
            max_idle: 10,
            idle_timeout: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
            wait_timeout: Duration::from_secs(10),
            target_utilization: 0.8,
            growth_factor: 1.5,
        }
    }

    #[test]
    fn it_grows_by_the_factor_and_shrinks_to_the_target() {
        let size = size();
        // Nothing to do; what there is suffices; more is opened; the limits.
        for (load, held, expected) in [
            (0.0, 0, 1),
            (0.0, 6, 1),
            (0.5, 1, 1),
            (3.2, 4, 4),
            (3.3, 4, 6),
            (4.0, 4, 6),
            (4.0, 8, 5),
            (9.0, 9, 10),
            (10.0, 10, 10),
        ] {
            assert_eq!(wanted(load, held, &size), expected, "{load} of {held}");
        }
        let size = Size { min_size: 0, ..size };
        for (load, expected) in [(0.0, 0), (0.01, 0), (0.1, 1)] {
            assert_eq!(wanted(load, 1, &size), expected, "{load} of one, where none need be");
        }
    }

    #[test]
    fn the_load_is_a_mean() {
        let (size, began) = (size(), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let mut load = Load::new(began);
        // Four at once, for a tenth of the time: 0.4 of one.
        for _ in 0..4 {
            load.begins(at(100));
        }
        assert_eq!(load.in_use(), 4);
        for _ in 0..4 {
            load.ends(at(200));
        }
        assert_eq!(load.look(4, &size, at(1_000)), 1);
        // All of four, all the time.
        for _ in 0..4 {
            load.begins(at(1_000));
        }
        assert_eq!(load.look(4, &size, at(2_000)), 6);
        assert_eq!(load.look(6, &size, at(3_000)), 5);
        assert_eq!(load.wanted(), 5);
    }
}
