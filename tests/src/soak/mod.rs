//! The agent under constant churn of containers and faults, looked at once a second, for as long as wanted: whether anything
//! grows. See docs/evidence/soak.md.
//!
//! - [`churn`]: the containers
//! - [`faults`]: what is done to the engine; the [proxy](crate::proxy) does it to the connections
//! - [`samples`]: what is looked at
//! - [`tally`]: every line
//! - [`trend`]: does a series grow
//! - [`report`]: what is told of it

pub mod churn;
pub mod faults;
pub mod report;
pub mod samples;
pub mod tally;
pub mod trend;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fastrand::Rng;

use crate::agent::Agent;
use crate::engine::Engine;
use crate::ledger;
use crate::proxy::Proxy;
use crate::wait::{self, PATIENCE};
use crate::witness;
use churn::{ALIVE, Churn};
use report::Report;
use samples::Samples;
use tally::Tally;

/// What shall be done, and how long.
pub struct Plan<'a> {
    /// How long it takes.
    pub length: Duration,
    /// The time in which the engine has each fault once. Samples are averaged over it.
    pub cycle: Duration,
    /// The seed of all that is random.
    pub seed: u64,
    /// For the samples, as they come.
    pub csv: Option<&'a Path>,
}

/// Lets the agent soak, then lets all come to rest, and stops it.
pub fn soak(plan: &Plan<'_>, engine: &Engine, proxy: &Proxy, agent: &mut Agent) -> Report {
    let at_rest = witness::descriptors(agent.pid()).len();
    let mut random = Rng::with_seed(plan.seed);
    let churn = Churn::new(engine, Tally::of(&agent.output()));
    let (samples, faults) = std::thread::scope(|scope| {
        let end = Ends(&churn.over);
        for _ in 0..ALIVE {
            let random = random.fork();
            scope.spawn(|| {
                let _end = Ends(&churn.over);
                churn.one_after_the_other(random);
            });
        }
        let random = random.fork();
        let making = scope.spawn(|| {
            let _end = Ends(&churn.over);
            faults::make(&churn, plan.cycle, random)
        });
        let samples = Samples::collect(agent, &churn, plan.length, plan.csv);
        // What is alive is read to its end in peace.
        proxy.calm();
        drop(end);
        (samples, making.join().expect("making faults does not panic"))
    });
    // After so long a run all else is to be told nevertheless.
    let ended = catch_unwind(AssertUnwindSafe(|| assert_nothing_left(agent, proxy, at_rest)));
    let tally = churn.tally.into_inner().expect("nobody panicked");
    Report {
        samples,
        lines: tally.finish(),
        gaps: report::gaps(&agent.stderr()),
        faults: format!("{faults}; the proxy: {:?}", proxy.done()),
        block: plan.cycle,
        ended_well: ended.is_ok(),
    }
}

/// Tells the others that all is over, also where its thread panics.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The pool's belief, the register, the kernel and `ss` agree while the agent rests; then it ends and holds nothing.
fn assert_nothing_left(agent: &mut Agent, proxy: &Proxy, at_rest: usize) {
    wait::until("all streams to end", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        (metrics.sum("container_streams_active", &[])? == 0.0).then_some(())
    });
    ledger::assert_no_connection_left_over(agent, proxy.path(), 0);
    wait::until("pool and kernel to agree", PATIENCE, || {
        let metrics = agent.admin.metrics().ok()?;
        let believed = metrics.sum("docker_pool_connections", &[])?;
        let held = metrics.sum("kernel_connections", &[("peer", proxy.path().to_str()?)])?;
        (believed == held).then_some(())
    });
    // The pool keeps up to two idle.
    wait::until("descriptors as at the beginning", PATIENCE, || {
        (witness::descriptors(agent.pid()).len() <= at_rest + 2).then_some(())
    });
    agent.stop();
    let last = agent.last_words();
    assert!(last.contains("the kernel holds 0 connections"), "{last:?}");
    wait::until("the proxy's connections to end", PATIENCE, || {
        (proxy.open() == 0).then_some(())
    });
}
