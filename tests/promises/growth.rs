//! Descriptors that are opened again and again and never closed are named by their kind, and no other kind is.

use std::thread::sleep;
use std::time::{Duration, Instant};

use integration::admin::Growing;
use integration::agent::{Agent, Launch};
use integration::engine::Engine;
use integration::shim::Shim;
use integration::size::size;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer, while_containers_come_and_go};
use integration::{needs, requirements, wait};

const FOUND: i32 = 3;

/// What `leaks` and `fds` say, by their exit codes too: the kinds, and no connection.
fn growing(agent: &Agent) -> Vec<Growing> {
    let output = agent.ask(&["leaks", "--json"]);
    let page: integration::admin::Leaks = serde_json::from_slice(&output.stdout).expect("the page's JSON");
    assert!(page.leaks.is_empty(), "a connection is named: {page:?}");
    let code = if page.growing.is_empty() { 0 } else { FOUND };
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    page.growing
}

fn kinds(growing: &[Growing]) -> Vec<&str> {
    let mut kinds: Vec<_> = growing.iter().map(|row| row.kind.as_str()).collect();
    kinds.sort_unstable();
    kinds
}

fn wait_for(agent: &Agent, wanted: &[&str]) {
    wait::until(&format!("{wanted:?} to be named"), PATIENCE, || {
        let growing = growing(agent);
        let named = kinds(&growing);
        assert!(named.iter().all(|kind| wanted.contains(kind)), "{growing:?}");
        (named == wanted).then_some(())
    });
}

fn said(agent: &Agent) -> Vec<String> {
    let stderr = agent.stderr();
    let lines = stderr.lines().filter(|line| line.contains("only ever grow"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_kind_of_which_descriptors_are_leaked_is_named_under_load_and_no_other_is() {
    needs!(
        requirements::engine(),
        requirements::kernel(),
        requirements::program("gcc")
    );
    let engine = Engine::start();
    let shim = Shim::build();
    let launch = Launch::on(engine.socket()).rotation("1s").kernel("required");
    let mut agent = shim
        .preload(launch)
        .environment("LOG_CAPTURER_KERNEL_LEAKS_SCAN_INTERVAL", "250ms")
        .start();
    agent.wait_ready();
    for name in ["north", "south"] {
        Writer::new(name, Kind::Short, 100_000).start(&engine);
    }
    while_containers_come_and_go(&engine, || {
        let quiet = Instant::now() + Duration::from_secs(size("QUIET_SECONDS", 4).into());
        while Instant::now() < quiet {
            assert_eq!(growing(&agent), []);
            sleep(Duration::from_millis(250));
        }
        shim.leak(&["eventfd"]);
        wait_for(&agent, &["eventfd"]);
        shim.leak(&["eventfd", "pipe", "file"]);
        wait_for(&agent, &["eventfd", "file", "pipe"]);

        let fds = agent.admin.fds().expect("/fds");
        assert_eq!(kinds(&fds.growing), ["eventfd", "file", "pipe"]);
        for row in &fds.growing {
            // One or two of each kind are planted at a time, ten times a second at the most.
            let seconds = row.by as f64 / row.per_hour * 3600.0;
            let planted = 2.0 * (10.0 * seconds + 1.0);
            assert!(row.by >= 12 && row.by as f64 <= planted, "{row:?}: in {seconds:.1} s");
        }
        let output = agent.ask(&["fds"]);
        assert_eq!(output.status.code(), Some(FOUND), "{output:?}");
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(table.contains("\neventfd only ever grows: "), "{table}");
        let metrics = agent.admin.metrics().expect("/metrics");
        for kind in metrics.label_values("kernel_fds_growing", "kind") {
            let by = metrics.sum("kernel_fds_growing", &[("kind", &kind)]);
            let planted = ["eventfd", "file", "pipe"].contains(&kind.as_str());
            assert_eq!(by > Some(0.0), planted, "{kind}: {by:?}");
        }
        shim.release();
        wait::until("nothing to be named any more", PATIENCE, || {
            growing(&agent).is_empty().then_some(())
        });
    });
    let said = said(&agent);
    assert_eq!(said.len(), 3, "each is told once: {said:#?}");
    agent.stop();
}
