//! A hook is in force only when it was seen to fire.

use std::fs;

use log_capturer::kernel::{Kernel, Options, RefusalKind, Tier};

use super::missed::take_away;
use super::{fixture, options};

const SWITCH: &str = "/proc/sys/kernel/ftrace_enabled";

/// Switched off for as long as this lives.
struct Off;

impl Off {
    /// None where the kernel has no such switch, or does not let it go.
    fn switch() -> Option<Self> {
        fs::write(SWITCH, "0").ok().map(|()| Self)
    }
}

impl Drop for Off {
    fn drop(&mut self) {
        let _ = fs::write(SWITCH, "1");
    }
}

#[test]
fn one_that_goes_quiet_is_named_and_what_is_live_stays_right() {
    let Some(fixture) = fixture() else { return };
    assert!(fixture.kernel.quiet_hooks().unwrap().is_empty());
    let close = match fixture.kernel.tier() {
        Tier::Fentry => "fexit_close",
        _ => "exit_close",
    };
    take_away(close);
    assert_eq!(fixture.kernel.quiet_hooks().unwrap(), [close]);
    let (client, _server) = fixture.pair();
    assert_eq!(fixture.checked().connections.len(), 1);
    drop(client);
    assert!(fixture.checked().connections.is_empty());
}

/// Programs at functions are called by way of ftrace.
#[test]
fn functions_that_are_not_traced_any_more() {
    let Some(fixture) = fixture() else { return };
    if fixture.kernel.tier() != Tier::Fentry {
        return;
    }
    let Some(off) = Off::switch() else { return };
    assert!(!fixture.kernel.quiet_hooks().unwrap().is_empty());
    let kept: Vec<_> = (0..10).map(|_| fixture.pair()).collect();
    assert_eq!(fixture.checked().connections.len(), kept.len());
    drop(kept);
    assert!(fixture.checked().connections.is_empty());
    let totals = fixture.totals(&fixture.checked());
    assert_eq!((totals.opened, totals.closed), (10, 10));
    drop(off);
    assert!(
        fixture.kernel.quiet_hooks().unwrap().is_empty(),
        "they are called again"
    );
    fixture.checked();
}

#[test]
fn a_tier_whose_hooks_do_not_fire_is_refused_and_the_next_one_is_taken() {
    let Some(fixture) = fixture() else { return };
    if fixture.kernel.tier() != Tier::Fentry {
        return;
    }
    let fixture = {
        let Some(_off) = Off::switch() else { return };
        let refusal = Kernel::attach(&options()).err().expect("nothing fires");
        assert_eq!(refusal.kind, RefusalKind::Quiet, "{refusal}");
        assert!(refusal.to_string().contains("kernel.ftrace_enabled"), "{refusal}");
        let best = Kernel::attach(&Options::default()).expect("the other tier");
        assert_eq!(best.tier(), Tier::Tracepoint);
        let refused = best.refused().expect("fentry").reason();
        assert!(refused.contains("does not run fexit_install"), "{refused}");
        fixture
    };
    assert!(fixture.kernel.quiet_hooks().unwrap().is_empty());
}
