//! How far the ledger's totals can be trusted: what the kernel did not tell it, and what had to be put right.

use std::collections::HashMap;

use crate::kernel::{Cause, Snapshot};

/// Between two scans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Runs of programs that the kernel skipped.
    pub missed: u64,
    /// What was put right, by cause; none where nothing was.
    pub repairs: Vec<(Cause, u64)>,
}

/// Looks at how far the counts have moved since the last time.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    missed: HashMap<String, u64>,
    repairs: HashMap<&'static str, u64>,
}

impl Doubt {
    /// What has moved since this was asked before.
    pub(super) fn since_the_last(&mut self, snapshot: &Snapshot) -> Interval {
        let missed = snapshot.missed.iter().map(|missed| {
            let before = self.missed.insert(missed.program.clone(), missed.events);
            missed.events.saturating_sub(before.unwrap_or(0))
        });
        let missed = missed.sum();
        let repairs = snapshot.repairs.iter().filter_map(|&(cause, count)| {
            let before = self.repairs.insert(cause.as_str(), count).unwrap_or(0);
            (count > before).then(|| (cause, count - before))
        });
        Interval {
            missed,
            repairs: repairs.collect(),
        }
    }
}

impl Interval {
    /// What the kernel did not tell, in words.
    pub fn missing(&self) -> Option<String> {
        (self.missed != 0).then(|| {
            format!(
                "the kernel skipped {} runs of the programs since the last scan, as a task was preempted inside them; \
                 what is live rests on the walk, totals of that time may be short",
                self.missed
            )
        })
    }

    /// What was put right, in words.
    pub fn repaired(&self) -> Option<String> {
        let one = |(cause, count): &(Cause, u64)| format!("{}: {count}", cause.as_str());
        (!self.repairs.is_empty()).then(|| self.repairs.iter().map(one).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Missed;

    fn snapshot(missed: u64, repaired: u64) -> Snapshot {
        Snapshot {
            missed: vec![Missed {
                program: "exit_close".into(),
                events: missed,
            }],
            repairs: vec![(Cause::Close, repaired), (Cause::Entry, 0)],
            ..Snapshot::default()
        }
    }

    #[test]
    fn only_what_has_moved_is_told() {
        let mut doubt = Doubt::default();
        assert_eq!(doubt.since_the_last(&snapshot(0, 0)), Interval::default());
        let interval = doubt.since_the_last(&snapshot(5, 2));
        assert_eq!(interval.repaired().as_deref(), Some("close_missed: 2"));
        assert!(interval.missing().expect("five").contains("skipped 5 runs"));
        let interval = doubt.since_the_last(&snapshot(6, 2));
        assert_eq!((interval.missed, interval.repaired()), (1, None));
        assert_eq!(doubt.since_the_last(&snapshot(6, 2)).missing(), None);
    }
}
