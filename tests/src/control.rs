//! A control beside a measurement: how dear and how slow work is on this machine at this very moment.
//!
//! Processor time is no fixed price. The same work costs a process several times as much when others share its processor,
//! because its caches are cold at each of its turns; and it takes several times as long. So a test does not hold what an agent
//! took against a constant. It holds it against what a thread took that did known work at the same time.

use std::io::{self, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::wait::{self, PATIENCE};
use crate::witness;

/// Between two wake-ups: the price of one is that of a process that mostly sleeps.
const PAUSE: Duration = Duration::from_millis(10);
/// What is written into a pipe and read again, so many times at each wake-up: the kernel's work, which is the same however the
/// tests were compiled.
const BYTES: usize = 4096;
const ROUNDS: usize = 16;
/// After so many wake-ups there is a stretch of plain computing.
const STRETCH_EVERY: u32 = 20;
/// Processor time of a stretch: longer than the scheduler gives at once where others wait.
const STRETCH: Duration = Duration::from_millis(10);

/// What a process that rests stays below, in wake-ups a second: one that waits, and tries something again now and then.
pub const RESTING: f64 = 2_500.0;
/// What a process stays below that has work all the time, and waits in between. A busy loop costs ten times as much.
pub const BUSY: f64 = 5_000.0;

/// The prices since the control was started.
#[derive(Debug, Clone, Copy)]
pub struct Prices {
    /// Processor time of one wake-up of the control.
    pub wakeup: Duration,
    /// How many times longer than its processor time plain computing takes. 1 where a processor is free all the time.
    pub slowdown: f64,
}

impl Prices {
    /// How long something may take here for which that is long enough on an idle machine.
    pub fn stretched(&self, most: Duration) -> Duration {
        most.mul_f64(self.slowdown.max(1.0))
    }

    /// How often something has to happen here in a time in which it happens so often on an idle machine; once at the least.
    pub fn thinned(&self, least: f64) -> f64 {
        (least / self.slowdown.max(1.0)).max(1.0)
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    wakeups: u32,
    waking: Duration,
    /// Processor time of all stretches, and how long they took.
    computed: Duration,
    took: Duration,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    totals: Mutex<Totals>,
}

impl Shared {
    fn totals(&self) -> MutexGuard<'_, Totals> {
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that does known work for as long as this lives.
pub struct Control(Arc<Shared>);

impl Control {
    /// Begins to work.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || work(&shared).expect("work on a pipe")
        });
        Self(shared)
    }

    /// Waits for the first wake-up and the first stretch, where there were none yet.
    pub fn prices(&self) -> Prices {
        let totals = wait::until("the control's first work", PATIENCE, || {
            let totals = *self.0.totals();
            (totals.wakeups > 0).then_some(totals)
        });
        Prices {
            wakeup: totals.waking / totals.wakeups,
            slowdown: totals.took.as_secs_f64() / totals.computed.as_secs_f64(),
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

fn work(shared: &Shared) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    let mut bytes = vec![0; BYTES];
    let mut round = || writer.write_all(&bytes).and_then(|()| reader.read_exact(&mut bytes));
    while !shared.over.load(Ordering::SeqCst) {
        let mut more = *shared.totals();
        if more.wakeups.is_multiple_of(STRETCH_EVERY) {
            let (began, before) = (Instant::now(), processor_time());
            while processor_time() - before < STRETCH {
                round()?;
            }
            more.computed += processor_time() - before;
            more.took += began.elapsed();
        }
        sleep(PAUSE);
        let before = processor_time();
        for _ in 0..ROUNDS {
            round()?;
        }
        more.waking += processor_time() - before;
        more.wakeups += 1;
        *shared.totals() = more;
    }
    Ok(())
}

/// The processor time of the calling thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// What a process did over a stretch of time.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// The share of one core, as the kernel counts it: for a table, not for a verdict.
    pub share: f64,
    /// As many wake-ups of the control a second would have cost the same.
    pub wakeups: f64,
}

impl Effort {
    /// Panics where the process did more than so many wake-ups of the control a second.
    #[track_caller]
    pub fn assert_below(&self, wakeups: f64, what: &str) {
        assert!(
            self.wakeups < wakeups,
            "{what} is as dear as {:.0} wake-ups a second ({:.1} % of a core); less than {wakeups} is right",
            self.wakeups,
            self.share * 100.0
        );
    }
}

/// Counts what a process does, from now on.
pub struct Watched {
    pid: u32,
    began: Instant,
    before: Duration,
    control: Control,
}

impl Watched {
    /// Begins to count.
    pub fn from_now(pid: u32) -> Self {
        Self {
            pid,
            control: Control::start(),
            began: Instant::now(),
            before: witness::cpu_time(pid),
        }
    }

    /// What the process has done since.
    pub fn effort(&self) -> Effort {
        let took = witness::cpu_time(self.pid) - self.before;
        let share = took.as_secs_f64() / self.began.elapsed().as_secs_f64();
        Effort {
            share,
            wakeups: share / self.prices().wakeup.as_secs_f64(),
        }
    }

    /// What the control has found work to cost since.
    pub fn prices(&self) -> Prices {
        self.control.prices()
    }
}

/// Over a window from now.
pub fn effort(pid: u32, window: Duration) -> Effort {
    let watched = Watched::from_now(pid);
    sleep(window);
    watched.effort()
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn shell(script: &str) -> Ended {
        Ended(Command::new("sh").args(["-c", script]).spawn().expect("run sh"))
    }

    #[test]
    fn a_busy_loop_is_told_from_one_that_waits() {
        let window = Duration::from_secs(2);
        let (spins, waits) = (shell("while :; do :; done"), shell("while sleep 0.1; do :; done"));
        let control = Control::start();
        let (spinning, waiting) = thread::scope(|scope| {
            let spinning = scope.spawn(|| effort(spins.0.id(), window));
            let waiting = scope.spawn(|| effort(waits.0.id(), window));
            (spinning.join().expect("measured"), waiting.join().expect("measured"))
        });
        waiting.assert_below(RESTING, "a loop that waits");
        // It has the processor for its share of the time only.
        let prices = control.prices();
        assert!(
            spinning.wakeups * prices.slowdown.max(1.0) > 4.0 * BUSY,
            "{spinning:?}, {prices:?}"
        );
    }

    #[test]
    fn prices_change_no_verdict_on_an_idle_machine() {
        let wakeup = Duration::from_micros(20);
        let (idle, busy) = (Prices { wakeup, slowdown: 0.9 }, Prices { wakeup, slowdown: 4.0 });
        let second = Duration::from_secs(1);
        assert_eq!((idle.stretched(second), idle.thinned(20.0)), (second, 20.0));
        assert_eq!((busy.stretched(second), busy.thinned(20.0)), (4 * second, 5.0));
        assert_eq!(busy.thinned(2.0), 1.0, "once at the least");
    }
}
