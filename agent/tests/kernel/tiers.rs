//! What is not the same on every tier, and which one it is.

use std::{
    net::Shutdown,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use log_capturer::kernel::{Kernel, Options, Tier};

use super::{Fixture, RefusalKind, entry, fixture, options};

#[test]
fn the_one_asked_for_or_the_best_with_the_reason() {
    let Some(fixture) = fixture() else { return };
    match options().tier {
        Some(asked) => assert_eq!(fixture.kernel.tier(), asked),
        None => {
            let refused = fixture.kernel.refused().is_some();
            assert_eq!(refused, fixture.kernel.tier() == Tier::Tracepoint);
        }
    }
}

#[test]
fn one_that_is_refused_is_not_replaced_when_it_is_the_one_asked_for() {
    let Some(fixture) = fixture() else { return };
    let Some(refusal) = fixture.kernel.refused() else {
        return;
    };
    let fentry = Options {
        tier: Some(Tier::Fentry),
        ..Options::default()
    };
    let again = Kernel::attach(&fentry).err().expect("as before");
    assert_eq!(again.reason(), refusal.reason());
    assert_ne!(again.kind, RefusalKind::Unexpected, "{again}");
}

/// When it happens by tier `fentry`, else when somebody looks.
fn the_peers_end_is_seen(end: impl FnOnce(UnixStream) -> Option<UnixStream>) {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    let _kept = end(server);
    let waited = Duration::from_millis(50);
    thread::sleep(waited);
    let looking = Instant::now();
    let ended = ended(&fixture, &client);
    if fixture.kernel.tier() == Tier::Fentry {
        assert!(ended >= waited, "{ended:?}");
    } else {
        assert!(ended <= looking.elapsed(), "{ended:?}");
    }
    drop(client);
    let waits = fixture.checked().close_waits;
    assert_eq!(waits.counts.iter().sum::<u64>(), 1);
    assert!(u128::from(waits.sum_ns) >= ended.as_nanos());
}

fn ended(fixture: &Fixture, client: &UnixStream) -> Duration {
    entry(&fixture.checked(), client).ended.expect("the peer has ended")
}

#[test]
fn a_unix_peer_closes() {
    the_peers_end_is_seen(|server| {
        drop(server);
        None
    });
}

#[test]
fn a_unix_peer_shuts_down_its_writing() {
    the_peers_end_is_seen(|server| {
        server.shutdown(Shutdown::Write).unwrap();
        Some(server)
    });
}

#[test]
fn a_unix_peer_that_ends_its_reading_has_not_ended() {
    let Some(fixture) = fixture() else { return };
    let (client, server) = fixture.pair();
    server.shutdown(Shutdown::Read).unwrap();
    assert_eq!(entry(&fixture.checked(), &client).ended, None);
}

/// It ends before our `connect` has been seen to return, or just after.
#[test]
fn a_unix_peer_that_closes_at_once() {
    const ROUNDS: usize = 300;
    let Some(fixture) = fixture() else { return };
    thread::scope(|scope| {
        let accepting = scope.spawn(|| {
            for _ in 0..ROUNDS {
                drop(fixture.server.accept().unwrap());
            }
        });
        for _ in 0..ROUNDS {
            drop(fixture.connect());
        }
        accepting.join().unwrap();
    });
    let snapshot = fixture.checked();
    let totals = fixture.totals(&snapshot);
    assert_eq!((totals.opened, totals.closed), (ROUNDS as u64, ROUNDS as u64));
    let waits: u64 = snapshot.close_waits.counts.iter().sum();
    assert_eq!(waits, totals.closed_after_peer);
    assert_eq!(snapshot.ages.counts.iter().sum::<u64>(), totals.closed);
}
