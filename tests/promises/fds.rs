//! The account of the agent's descriptors is what `/proc` says.

use std::collections::BTreeMap;

use integration::admin::Fds;
use integration::agent::{Agent, Launch};
use integration::engine::Engine;
use integration::wait::PATIENCE;
use integration::writers::{Kind, Writer};
use integration::{needs, requirements, wait, witness};

/// What `ask` gives at a moment at which the agent had the very same descriptors before and after; with the connection that asks.
fn at_a_quiet_moment<T>(agent: &Agent, mut ask: impl FnMut() -> T) -> (BTreeMap<&'static str, u64>, T) {
    wait::until("a quiet moment", PATIENCE, || {
        // Not their number alone: one that was closed while another one was opened is none that the answer has.
        let before = witness::descriptors(agent.pid());
        let mut kinds = witness::descriptors_by_kind(agent.pid());
        let answer = ask();
        (before == witness::descriptors(agent.pid())).then(|| {
            *kinds.entry("tcp").or_default() += 1;
            (kinds, answer)
        })
    })
}

#[test]
fn the_page_and_the_command_fds_agree_with_proc_kind_by_kind() {
    needs!(requirements::engine(), requirements::kernel());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("required").rotation("1s").start();
    agent.wait_ready();
    let writer = Writer::new("web", Kind::Mixed, 400).pace(20, 0.1);
    writer.start(&engine);
    agent.wait_records(400, PATIENCE);
    engine.wait("web");
    // Rotations go on for as long as the container writes, so there were some.
    wait::until("connections to come and go", PATIENCE, || {
        let unix = agent
            .admin
            .fds()
            .ok()?
            .kinds
            .into_iter()
            .find(|row| row.kind == "unix")?;
        (unix.closed >= 3).then_some(())
    });

    let (proc, page) = at_a_quiet_moment(&agent, || agent.admin.fds().expect("/fds"));
    assert_eq!(page.open(), proc, "{page:?}");
    assert_eq!(page.conserved, Some(true));
    for row in &page.kinds {
        assert_eq!(row.preexisting + row.opened - row.closed, row.open, "{row:?}");
    }

    let (proc, output) = at_a_quiet_moment(&agent, || agent.ask(&["fds", "--json"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let json: Fds = serde_json::from_slice(&output.stdout).expect("the page's JSON");
    assert_eq!((json.open(), json.conserved), (proc, Some(true)));

    let (proc, output) = at_a_quiet_moment(&agent, || agent.ask(&["fds"]));
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let table = String::from_utf8(output.stdout).expect("text");
    let (rows, verdict) = table.trim_end().rsplit_once('\n').expect("a verdict");
    assert!(verdict.starts_with("conserved: "), "{table}");
    let mut printed = BTreeMap::new();
    for row in rows.lines().skip(1) {
        let cells: Vec<_> = row.split_whitespace().collect();
        let [kind, open, .., by_iterator, by_proc] = cells[..] else {
            panic!("a row of {table}")
        };
        assert_eq!((open, open), (by_iterator, by_proc), "{row}");
        printed.insert(kind, open.parse::<u64>().expect("a number"));
    }
    printed.retain(|_, open| *open > 0);
    assert_eq!(printed, proc, "{table}");
    agent.stop();
}

#[test]
fn without_the_kernel_part_the_command_fds_says_so() {
    needs!(requirements::engine());
    let engine = Engine::start();
    let mut agent = Launch::on(engine.socket()).kernel("off").start();
    agent.wait_ready();
    for arguments in [&["fds"][..], &["fds", "--json"]] {
        let output = agent.ask(arguments);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("without its kernel half"), "{said}");
    }
    agent.stop();
    let output = agent.ask(&["fds"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("is it running?"), "{said}");
}
