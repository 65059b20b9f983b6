//! One follower, one piece of work, once.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contestant::{Contestant, Task};
use crate::interrupt;
use crate::process::Held;
use crate::running::Running;
use crate::scenario::{Scenario, When, Work};
use crate::stage::Stage;
use crate::tally::Tally;

/// Without a new line for this long no more is expected.
const PATIENCE: Duration = Duration::from_secs(15);
const SETTLE: Duration = Duration::from_secs(60);
/// From the last line to the look at what is still held then.
const REST: Duration = Duration::from_secs(1);
/// The engine is looked at for so long while nobody follows what was written before.
const ALONE: Duration = Duration::from_secs(5);

/// Whose turn it is, and at what.
pub struct Turn<'a> {
    pub scenario: &'a Scenario,
    pub work: &'a Work,
    pub contestant: &'a Contestant,
    /// None yet where they start meanwhile.
    pub containers: &'a [String],
    /// From 1; the containers write anew in each.
    pub number: usize,
}

/// What one turn gave.
#[derive(Clone, Debug)]
pub struct Run {
    /// Seconds of processor time.
    pub own: f64,
    pub engine: f64,
    /// Seconds in which that was used.
    pub span: f64,
    /// Seconds from the beginning to the last line.
    pub wall: f64,
    pub lines: u64,
    pub missing: u64,
    pub doubled: u64,
    /// What was held before the first line, by streams that had nothing to do. Nothing where the lines came first.
    pub idle: Held,
    /// The most of each, from then on.
    pub most: Held,
    /// What was still held after the last line.
    pub end: Held,
    /// Milliseconds: half of the lines, 99 of 100, all came no later. NaN where it was not measured.
    pub latency: [f64; 3],
}

pub fn measure(stage: &Stage, turn: &Turn<'_>) -> Result<Run> {
    let Turn {
        work,
        contestant,
        containers,
        ..
    } = *turn;
    let dir = tempfile::tempdir_in(stage.engine.dir())?;
    let task = Task {
        engine: &stage.engine,
        containers,
        pipes: turn.scenario.late,
        at_once: work.containers,
        dir: dir.path(),
    };
    let mut tally = Tally::new(work.containers, work.lines);
    if work.when == When::Meanwhile {
        stage.rewind(containers)?;
    }

    // What is written is read at once, so there the start counts; else a follower is to be in its place first.
    let mut engine_before = stage.processor_time();
    let mut begun = Instant::now();
    let mut running = contestant.start(&task)?;
    let mut own_before = Duration::ZERO;
    let mut idle = Held::default();
    let mut started = Vec::new();
    if work.when != When::Before {
        running.settle(SETTLE);
        idle = running.held();
        own_before = running.processor_time();
        engine_before = stage.processor_time();
        begun = Instant::now();
        match work.when {
            When::AtStart => started = stage.containers(work)?,
            _ => stage.go(turn.number)?,
        }
    }
    let nobody = *contestant == Contestant::Nobody;
    let (most, last) = if nobody {
        let writing = if work.when == When::AtStart {
            &started
        } else {
            containers
        };
        alone(stage, work, writing, begun)?;
        (Held::default(), Instant::now())
    } else {
        running.read(&mut tally, work.lasts(), PATIENCE)?
    };
    let mut run = Run {
        own: (running.processor_time() - own_before).as_secs_f64(),
        engine: (stage.processor_time() - engine_before).as_secs_f64(),
        span: begun.elapsed().as_secs_f64(),
        wall: (last - begun).as_secs_f64(),
        lines: tally.distinct,
        missing: if nobody { 0 } else { tally.missing() },
        doubled: tally.doubled,
        idle,
        most,
        end: Held::default(),
        latency: percentiles(&mut tally.latencies),
    };
    run.end = rest(&mut running, &mut tally)?;
    run.most = run.most.max(run.end);
    // A line that comes again after all have come is doubled too.
    run.doubled = tally.doubled;
    ensure!(
        !running.has_ended()?,
        "{contestant} has ended by itself; its messages are above"
    );
    running.stop()?;
    if work.when == When::AtStart {
        stage.clear()?;
    }
    Ok(run)
}

/// For as long as a follower would have been at it.
fn alone(stage: &Stage, work: &Work, writing: &[String], begun: Instant) -> Result<()> {
    let long = if work.when == When::Before { ALONE } else { work.lasts() };
    stage.wait_written(writing, work)?;
    while begun.elapsed() < long {
        interrupt::check()?;
        sleep(Duration::from_millis(100).min(long.saturating_sub(begun.elapsed())));
    }
    Ok(())
}

/// Gives what is held when all is done, and reads what may still come.
fn rest(running: &mut Running, tally: &mut Tally) -> Result<Held> {
    sleep(REST);
    let held = running.held();
    running.read_rest(tally)?;
    Ok(held)
}

fn percentiles(latencies: &mut [u64]) -> [f64; 3] {
    latencies.sort_unstable();
    let last = latencies.len().saturating_sub(1);
    [last / 2, last * 99 / 100, last].map(|at| latencies.get(at).map_or(f64::NAN, |&nanos| nanos as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_none() {
        let mut hundred: Vec<u64> = (1..=101).rev().map(|millis| millis * 1_000_000).collect();
        assert_eq!(percentiles(&mut hundred), [51.0, 100.0, 101.0]);
        assert_eq!(percentiles(&mut [3_000_000]), [3.0; 3]);
        assert!(percentiles(&mut []).iter().all(|value| value.is_nan()));
    }
}
