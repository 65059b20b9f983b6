//! `/fds`: everything that the agent has open, by kind, and whether others count the same.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::audit::{Found, Growing};
use crate::kernel::{Comparison, KindTotals, Tier, Witness};

/// The answer to `/fds`, which `log-capturer fds` reads.
#[derive(Debug, Serialize, Deserialize)]
pub struct FdsPage {
    /// The tier that counts; `none` where nothing can be said.
    pub kernel: String,
    /// Whether `preexisting + opened - closed` is what both witnesses count. Absent where descriptors came and went all
    /// the while, so that there was no moment to compare in.
    pub conserved: Option<bool>,
    /// One row for each kind, in the order of [`crate::kernel::Kind`].
    pub kinds: Vec<KindRow>,
    /// Kinds that only ever grow, at the last scan.
    pub growing: Vec<GrowingRow>,
    /// Events that the kernel did not tell before the last scan and after the one before: the totals may be short by them. What
    /// is open rests on a walk.
    #[serde(default)]
    pub missed_events: u64,
}

/// A kind of which nothing is ever closed again, it seems.
#[derive(Debug, Serialize, Deserialize)]
pub struct GrowingRow {
    /// The name of the kind, such as `unix` or `epoll`.
    pub kind: String,
    /// All that were open.
    pub open: u64,
    /// So many came in the last `seconds`, and are still there.
    pub by: u64,
    /// For how long it has been growing.
    pub seconds: f64,
    /// How fast it grows: descriptors an hour.
    pub per_hour: f64,
}

impl From<&Growing> for GrowingRow {
    fn from(growing: &Growing) -> Self {
        let now = Instant::now();
        Self {
            kind: growing.kind.as_str().to_owned(),
            open: growing.open,
            by: growing.by,
            seconds: now.duration_since(growing.since).as_secs_f64(),
            per_hour: growing.per_hour(now),
        }
    }
}

/// The descriptors of one kind.
#[derive(Debug, Serialize, Deserialize)]
pub struct KindRow {
    /// The name of the kind, such as `unix` or `epoll`.
    pub kind: String,
    /// How many are open now: `preexisting + opened - closed`.
    pub open: u64,
    /// How many were open when the kernel part was attached.
    pub preexisting: u64,
    /// How many were opened since.
    pub opened: u64,
    /// How many were closed since, those from before included.
    pub closed: u64,
    /// The part of `opened` that no hook saw.
    pub found: u64,
    /// How many entries of the ledger were wrong and were put right.
    pub repaired: u64,
    /// What a walk through the process's table counts; absent if no witness was asked.
    pub iterator: Option<u64>,
    /// What `/proc/self/fd` counts; absent if no witness was asked.
    pub proc: Option<u64>,
}

impl FdsPage {
    /// Without the kernel part.
    pub fn none() -> Self {
        Self {
            kernel: Tier::None.as_str().to_owned(),
            conserved: None,
            kinds: Vec::new(),
            growing: Vec::new(),
            missed_events: 0,
        }
    }

    /// There was no quiet moment to ask the witnesses in.
    pub fn counted(tier: Tier, fds: &[KindTotals], found: &Found) -> Self {
        Self {
            kernel: tier.as_str().to_owned(),
            conserved: None,
            kinds: fds.iter().map(KindRow::from).collect(),
            growing: found.growing.iter().map(GrowingRow::from).collect(),
            missed_events: found.doubt.missed,
        }
    }

    /// The ledger beside its witnesses, as they were at one quiet moment.
    pub fn compared(tier: Tier, comparison: &Comparison, found: &Found) -> Self {
        let row = |totals: &KindTotals| KindRow {
            iterator: Some(comparison.counted(Witness::Iterator, totals)),
            proc: Some(comparison.counted(Witness::Proc, totals)),
            ..KindRow::from(totals)
        };
        Self {
            kernel: tier.as_str().to_owned(),
            conserved: Some(comparison.drifts.is_empty()),
            kinds: comparison.fds.iter().map(row).collect(),
            growing: found.growing.iter().map(GrowingRow::from).collect(),
            missed_events: found.doubt.missed,
        }
    }
}

impl From<&KindTotals> for KindRow {
    fn from(totals: &KindTotals) -> Self {
        Self {
            kind: totals.kind.as_str().to_owned(),
            open: totals.open,
            preexisting: totals.preexisting,
            opened: totals.opened,
            closed: totals.closed,
            found: totals.found,
            repaired: totals.repaired,
            iterator: None,
            proc: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Drift, Kind};

    #[test]
    fn a_difference_is_shown_beside_the_ledgers_word() {
        let totals = KindTotals {
            kind: Kind::Eventfd,
            open: 5,
            preexisting: 1,
            opened: 6,
            closed: 2,
            found: 0,
            repaired: 0,
        };
        let drift = Drift {
            witness: Witness::Proc,
            kind: Kind::Eventfd,
            difference: 2,
        };
        let page = FdsPage::compared(
            Tier::Tracepoint,
            &Comparison {
                fds: vec![totals],
                drifts: vec![drift],
            },
            &Found::default(),
        );
        assert_eq!(page.conserved, Some(false));
        let row = &page.kinds[0];
        assert_eq!((row.open, row.iterator, row.proc), (5, Some(5), Some(3)));
    }
}
