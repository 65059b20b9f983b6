//! All descriptors by kind, and the law that they must obey: preexisting + opened − closed is what others count, too.

use std::sync::atomic::{AtomicBool, Ordering};

use abi::{CENSUS, Kind};
use aya::programs::RawTracePoint;

use super::{
    mapped::Mapped,
    object::{ask, ask_two},
    refusal::Refusal,
    snapshot::{Comparison, Drift, KindTotals, Witness},
    witness::{self, Counts},
};

/// `KIND_TOTALS`, and what was found of it.
pub struct Descriptors {
    totals: Mapped<abi::KindTotals>,
    /// The last look saw a drift.
    drifted: AtomicBool,
}

/// Other threads open and close while we look: a comparison is made anew this often before it is given up for this time.
const ATTEMPTS: u32 = 3;

impl Descriptors {
    /// Begins to count, and takes in what is open already.
    pub fn begin(totals: Mapped<abi::KindTotals>, adopt: &RawTracePoint, capacity: u32) -> Result<Self, Refusal> {
        for first in (0..capacity).step_by(CENSUS as usize) {
            ask(adopt, first.into())?;
        }
        Ok(Self {
            totals,
            drifted: AtomicBool::new(false),
        })
    }

    /// What the ledger says, once it has taken in what came without a hook.
    pub fn totals(&self, census: &RawTracePoint) -> Result<Vec<KindTotals>, Refusal> {
        self.count(census, false)?;
        Ok(self.read().collect())
    }

    fn read(&self) -> impl Iterator<Item = KindTotals> {
        Kind::ALL.into_iter().map(|kind| {
            let totals = self.totals.get(kind as usize).unwrap_or_default();
            KindTotals {
                kind,
                open: (totals.preexisting + totals.opened).saturating_sub(totals.closed),
                preexisting: totals.preexisting,
                opened: totals.opened,
                closed: totals.closed,
                found: totals.found,
                repaired: totals.repaired,
            }
        })
    }

    /// Has the kernel half walk through the process's table.
    fn count(&self, census: &RawTracePoint, repair: bool) -> Result<Counts, Refusal> {
        let mut first = 0;
        loop {
            ask_two(census, first, repair.into())?;
            first += u64::from(CENSUS);
            let end = self.totals.get(0).unwrap_or_default().counted;
            if first >= end {
                break;
            }
        }
        let mut counts = Counts::default();
        for kind in Kind::ALL {
            let index = kind as usize;
            counts[index] = self.totals.get(index).unwrap_or_default().counted;
        }
        Ok(counts)
    }

    /// Where the ledger and its witnesses differ, as [`Self::compare`] sees it. A difference that is there for the second
    /// time is repaired.
    pub fn drift(&self, census: &RawTracePoint) -> Result<Option<Vec<Drift>>, Refusal> {
        let Some(Comparison { drifts, .. }) = self.compare(census)? else {
            return Ok(None);
        };
        if self.drifted.swap(!drifts.is_empty(), Ordering::Relaxed) && !drifts.is_empty() {
            self.count(census, true)?;
        }
        Ok(Some(drifts))
    }

    /// Holds the ledger against its witnesses, and changes nothing. `None` where there was no quiet moment for it.
    pub fn compare(&self, census: &RawTracePoint) -> Result<Option<Comparison>, Refusal> {
        for _ in 0..ATTEMPTS {
            let counted = self.count(census, false)?;
            let before: Vec<_> = self.read().collect();
            let proc = witness::count().map_err(|error| Refusal::new("read /proc/self/fd", &error))?;
            let again = self.count(census, false)?;
            let fds: Vec<_> = self.read().collect();
            // Listing /proc takes a descriptor itself, for as long as it lasts.
            let moved = |(before, after): (&KindTotals, &KindTotals)| {
                let own = u64::from(before.kind == Kind::File);
                after.opened != before.opened + own || after.closed != before.closed + own
            };
            if counted != again || before.iter().zip(&fds).any(moved) {
                continue;
            }
            let mut drifts = differences(Witness::Iterator, &fds, &again);
            drifts.extend(differences(Witness::Proc, &fds, &proc));
            return Ok(Some(Comparison { fds, drifts }));
        }
        Ok(None)
    }
}

fn differences(witness: Witness, ledger: &[KindTotals], counts: &Counts) -> Vec<Drift> {
    let difference = |totals: &KindTotals| Drift {
        witness,
        kind: totals.kind,
        difference: totals.open.cast_signed() - counts[totals.kind as usize].cast_signed(),
    };
    let all = ledger.iter().map(difference);
    all.filter(|drift| drift.difference != 0).collect()
}
