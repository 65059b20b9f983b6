//! What a line costs, counted instead of timed: a busy machine makes no difference to it.

use std::time::Duration;

use integration::agent::Launch;
use integration::allocations::Allocations;
use integration::engine::Engine;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};

const PATIENCE: Duration = Duration::from_secs(60);

/// Two containers' lines, of both streams; so many of each that what happens once a second or once a look is little.
const LINES: usize = 100_000;

#[test]
fn a_line_costs_no_allocation() {
    needs!(requirements::engine(), requirements::program("gcc"));
    let engine = Engine::start();
    let allocations = Allocations::build();
    let mut agent = allocations.preload(Launch::on(engine.socket())).start();
    agent.wait_ready();
    let size = || agent.output().metadata().map_or(0, |file| file.len());
    let writers = ["north", "south"].map(|name| Writer::new(name, Kind::Mixed, LINES).pace(2_000, 0.01));
    for writer in &writers {
        writer.start(&engine);
    }
    // A quarter in, every buffer has grown to its size. Only the file is looked at: a scrape allocates.
    let all = (2 * LINES * 300) as u64;
    wait::until("a quarter of the lines", PATIENCE, || (size() > all / 4).then_some(()));
    let (from, before, writes) = (size(), allocations.count(), witness::writes(agent.pid()));
    wait::until("three quarters of the lines", PATIENCE, || {
        (size() > all / 4 * 3).then_some(())
    });
    let (to, after, writes) = (size(), allocations.count(), witness::writes(agent.pid()) - writes);
    let (lines, allocated) = ((to - from) / 300, after - before);
    eprintln!("{allocated} allocations and {writes} writes for some {lines} lines; {before} before");
    assert!(before > 100, "the agent starts without allocating: nothing is counted");
    // Each handing over to the sinks may cost one; the rest is what happens once a second.
    assert!(
        allocated < writes + lines / 1000 + 200,
        "{allocated} allocations for {lines} lines in {writes} writes"
    );
    assert!(writes < lines / 10, "{writes} writes for {lines} lines");
    agent.stop();
}
