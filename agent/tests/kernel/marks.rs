//! Who opened a connection.

use std::{os::unix::net::UnixStream, thread};

use log_capturer::kernel::Mark;

use super::{entry, fixture};

#[test]
fn a_connection_bears_the_mark_of_its_thread() {
    let Some(fixture) = fixture() else { return };
    let mark = Mark {
        site: 3,
        len: 32,
        tag: *b"0123456789abcdef0123456789abcdef",
    };
    let before = fixture.connect();
    let (marked, others) = fixture
        .kernel
        .marked(mark, || {
            let others = thread::scope(|scope| scope.spawn(|| fixture.connect()).join().unwrap());
            (fixture.connect(), others)
        })
        .unwrap();
    let after = fixture.connect();
    let snapshot = fixture.checked();
    assert_eq!(entry(&snapshot, &marked).mark, mark);
    for unmarked in [before, others, after] {
        assert_eq!(entry(&snapshot, &unmarked).mark, Mark::default());
    }
}

#[test]
fn threads_mark_in_turn() {
    const THREADS: u32 = 6;
    const ROUNDS: u32 = 20;
    let Some(fixture) = fixture() else { return };
    let opened: Vec<(u32, UnixStream)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS)
            .map(|site| {
                let fixture = &fixture;
                let mark = Mark {
                    site,
                    ..Mark::default()
                };
                scope.spawn(move || {
                    let connect = |_| (site, fixture.kernel.marked(mark, || fixture.connect()).unwrap());
                    (0..ROUNDS).map(connect).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let snapshot = fixture.checked();
    for (site, client) in &opened {
        assert_eq!(entry(&snapshot, client).mark.site, *site);
    }
}
