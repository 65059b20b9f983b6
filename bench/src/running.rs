//! A follower at work: its processes, what comes out of them, and what they use.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};

use crate::interrupt;
use crate::output::Source;
use crate::process::{Held, processor_time};
use crate::tally::Tally;

/// What they hold is looked at so often.
const SAMPLE: Duration = Duration::from_millis(250);
/// Files are looked at so often; the last look is what a wall-clock time is uncertain by.
const LOOK: Duration = Duration::from_millis(20);
const SETTLED: Duration = Duration::from_secs(2);
const STOP: Duration = Duration::from_secs(20);

#[derive(Default)]
pub struct Running {
    pub children: Vec<Child>,
    pub sources: Vec<Source>,
}

impl Running {
    fn pids(&self) -> Vec<u32> {
        self.children.iter().map(Child::id).collect()
    }

    /// The processor time of all its processes. None has been waited for, so the ended ones count too.
    pub fn processor_time(&self) -> Duration {
        self.children.iter().map(|child| processor_time(child.id())).sum()
    }

    pub fn held(&self) -> Held {
        Held::by(&self.pids())
    }

    /// Whether one of them has ended by itself. From then on its processor time is gone.
    pub fn has_ended(&mut self) -> Result<bool> {
        let mut any = false;
        for child in &mut self.children {
            any |= child.try_wait()?.is_some();
        }
        Ok(any)
    }

    /// Until it has opened all that it opens at its start: as many descriptors for two seconds.
    pub fn settle(&self, patience: Duration) {
        let pids = self.pids();
        let start = Instant::now();
        let mut since = Instant::now();
        let mut before = 0;
        while !pids.is_empty() && since.elapsed() < SETTLED && start.elapsed() < patience {
            let now = Held::by(&pids).descriptors;
            if now != before {
                (before, since) = (now, Instant::now());
            }
            sleep(SAMPLE);
        }
    }

    /// Reads until every line has come, or none has for `patience`, and for at least `at_least`. Gives the most that
    /// was held meanwhile, and the moment at which the last line was seen.
    pub fn read(&mut self, tally: &mut Tally, at_least: Duration, patience: Duration) -> Result<(Held, Instant)> {
        let pids = self.pids();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let held = scope.spawn(|| {
                let mut most = Held::default();
                while !over.load(Ordering::Relaxed) {
                    most = most.max(Held::by(&pids));
                    sleep(SAMPLE);
                }
                most
            });
            let read = self.read_all(tally, at_least, patience);
            over.store(true, Ordering::Relaxed);
            let held = held.join().expect("sampling does not panic");
            Ok((held, read?))
        })
    }

    fn read_all(&mut self, tally: &mut Tally, at_least: Duration, patience: Duration) -> Result<Instant> {
        let start = Instant::now();
        let mut last = start;
        loop {
            interrupt::check()?;
            let mut any = false;
            for source in &mut self.sources {
                any |= source.read(tally)?;
            }
            if any {
                last = Instant::now();
            }
            let complete = tally.missing() == 0 || self.sources.is_empty() || last.elapsed() > patience;
            if complete && start.elapsed() >= at_least {
                return Ok(last);
            }
            self.wait()?;
        }
    }

    /// Reads what is there.
    pub fn read_rest(&mut self, tally: &mut Tally) -> Result<()> {
        for source in &mut self.sources {
            source.read(tally)?;
        }
        Ok(())
    }

    /// Until a pipe has something, or for a moment.
    fn wait(&self) -> Result<()> {
        let pipes = self.sources.iter().filter_map(Source::pipe);
        let mut pipes: Vec<_> = pipes
            .map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN))
            .collect();
        if pipes.is_empty() {
            sleep(LOOK);
            return Ok(());
        }
        let timeout = Timespec::try_from(LOOK)?;
        match poll(&mut pipes, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // The other end of a pipe may be closed, which is ready for ever.
        if pipes.iter().any(|pipe| pipe.revents().contains(PollFlags::HUP)) {
            sleep(LOOK);
        }
        Ok(())
    }

    /// SIGTERM to all, and SIGKILL to who does not end by that.
    pub fn stop(mut self) -> Result<()> {
        for child in &mut self.children {
            if child.try_wait()?.is_none() {
                kill_process(Pid::from_child(child), Signal::TERM)?;
            }
        }
        let mut rest = Tally::new(0, 0);
        let end = Instant::now() + STOP;
        for child in &mut self.children {
            while child.try_wait()?.is_none() {
                if Instant::now() > end {
                    child.kill()?;
                    child.wait()?;
                    bail!("a follower did not end {STOP:?} after SIGTERM");
                }
                // What it still writes must go somewhere.
                for source in &mut self.sources {
                    source.read(&mut rest)?;
                }
                sleep(LOOK);
            }
        }
        Ok(())
    }
}

/// Nothing that was started stays behind where a measurement fails.
impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.children {
            if matches!(child.try_wait(), Ok(None)) {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }
}
