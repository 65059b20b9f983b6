//! What a line costs, counted instead of timed: a busy machine makes no difference to it.

use integration::agent::Launch;
use integration::counts::Counts;
use integration::engine::Engine;
use integration::wait::PATIENCE;
use integration::{needs, requirements, wait, witness};

/// Lines of each of two containers: so many that what happens once a second or once a look is little.
const LINES: u64 = 100_000;
const LENGTH: u64 = 200;
/// What a record has beside its line is no less.
const RECORD: u64 = LENGTH + 150;

/// Every third line goes to the other stream.
fn script() -> String {
    format!(
        r#"exec awk 'BEGIN {{
            while (length(line) < {LENGTH}) line = line "."
            for (n = 1; n <= {LINES}; n++) {{
                if (n % 3) print line; else print line > "/dev/stderr"
                if (n % 2000 == 0) {{ fflush(); system("sleep 0.01") }}
            }}
        }}'"#
    )
}

#[test]
fn a_line_costs_no_allocation_and_one_copy() {
    needs!(requirements::engine(), requirements::program("gcc"));
    let engine = Engine::start();
    let counts = Counts::build();
    let mut agent = counts.preload(Launch::on(engine.socket())).start();
    agent.wait_ready();
    for name in ["north", "south"] {
        engine.run_script(name, &[], &script());
    }
    // Only the file is looked at: a scrape allocates.
    let size = || agent.output().metadata().map_or(0, |file| file.len());
    let reach = |bytes| wait::until("more lines", PATIENCE, || (size() > bytes).then_some(()));
    // A quarter in, every buffer has grown to its size.
    let all = 2 * LINES * RECORD;
    reach(all / 4);
    let (from, before, writes) = (size(), counts.now(), witness::writes(agent.pid()));
    reach(all / 4 * 3);
    let (to, after, writes) = (size(), counts.now(), witness::writes(agent.pid()) - writes);
    agent.stop();

    assert!(
        before.allocations > 100 && before.copied > 1000,
        "no agent starts with {before:?}: nothing is counted"
    );
    let (lines, allocated) = ((to - from) / RECORD, after.allocations - before.allocations);
    let copies = (after.copied - before.copied) as f64 / (to - from) as f64;
    eprintln!(
        "some {lines} lines in {writes} writes: {allocated} allocations, {copies:.3} bytes copied for one written"
    );
    // Each handing over to the sinks may cost one; the rest is what happens once a second.
    assert!(
        allocated < writes + lines / 1000 + 200,
        "{allocated} allocations for {lines} lines in {writes} writes"
    );
    assert!(writes < lines / 10, "{writes} writes for {lines} lines");
    // The encoding, which is the record itself; a second copy of the line alone would be half a byte more.
    assert!(copies < 1.1, "{copies:.3} bytes copied for one written");
}
