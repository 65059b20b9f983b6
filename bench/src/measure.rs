//! One follower, one piece of work, once.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::contestant::{Contestant, Task};
use crate::process::Held;
use crate::scenario::{Scenario, When, Work};
use crate::stage::Stage;
use crate::tally::Tally;

/// Without a new line for this long no more is expected.
const PATIENCE: Duration = Duration::from_secs(15);
const SETTLE: Duration = Duration::from_secs(60);

/// What one run gave.
#[derive(Clone, Debug)]
pub struct Run {
    /// Seconds of processor time.
    pub own: f64,
    pub engine: f64,
    /// Seconds from the beginning to the last line.
    pub wall: f64,
    pub lines: u64,
    pub missing: u64,
    pub doubled: u64,
    pub held: Held,
    /// Milliseconds: half of the lines, 99 of 100, all came no later. NaN where it was not measured.
    pub latency: [f64; 3],
}

/// `written` are the containers that have written already; where the work is done meanwhile, it makes its own.
pub fn measure(
    stage: &Stage,
    scenario: &Scenario,
    work: &Work,
    contestant: &Contestant,
    written: &[String],
    agent: &Path,
) -> Result<Run> {
    let own = match work.when {
        When::Meanwhile => stage.containers(work)?,
        When::Before | When::AtStart => Vec::new(),
    };
    let dir = tempfile::tempdir_in(stage.engine.dir())?;
    let task = Task {
        engine: &stage.engine,
        containers: if work.when == When::Before { written } else { &own },
        pipes: scenario.late,
        at_once: work.containers,
        dir: dir.path(),
        agent,
    };
    let mut tally = Tally::new(work.containers, work.lines);

    // What is written is read at once, so there the start counts; else a follower is to be in its place first.
    let mut engine_before = stage.processor_time();
    let mut begun = Instant::now();
    let mut running = contestant.start(&task)?;
    let mut own_before = Duration::ZERO;
    if work.when != When::Before {
        running.settle(SETTLE);
        own_before = running.processor_time();
        engine_before = stage.processor_time();
        begun = Instant::now();
        match work.when {
            When::AtStart => drop(stage.containers(work)?),
            _ => stage.go()?,
        }
    }
    // Also for what follows nothing: what the engine does in that time is what it does anyhow.
    let at_least = work.lasts();
    let (held, last) = running.read(&mut tally, at_least, PATIENCE)?;
    let run = Run {
        own: (running.processor_time() - own_before).as_secs_f64(),
        engine: (stage.processor_time() - engine_before).as_secs_f64(),
        wall: (last - begun).as_secs_f64(),
        lines: tally.distinct,
        missing: if *contestant == Contestant::Nobody {
            0
        } else {
            tally.missing()
        },
        doubled: tally.doubled,
        held,
        latency: percentiles(&mut tally.latencies),
    };
    ensure!(
        !running.has_ended()?,
        "{contestant} has ended by itself; its messages are above"
    );
    running.stop()?;
    if work.when != When::Before {
        stage.clear()?;
    }
    Ok(run)
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
