//! All descriptors by kind, and the law that they must obey: preexisting + opened − closed is what others count, too.

use abi::{CENSUS, Kind};
use aya::{Ebpf, programs::RawTracePoint};

use super::{
    mapped::Mapped,
    object::ask,
    refusal::Refusal,
    snapshot::{Comparison, Drift, KindTotals, Witness},
    walk::Walk,
    witness::{self, Counts},
};

/// `KIND_TOTALS`
pub(super) struct Descriptors(Mapped<abi::KindTotals>);

/// Other threads open and close while we look: a comparison is made anew this often before it is given up for this time.
const ATTEMPTS: u32 = 3;

impl Descriptors {
    /// Begins to count, and takes in what is open already.
    pub(super) fn begin(
        totals: Mapped<abi::KindTotals>,
        adopt: &RawTracePoint,
        capacity: u32,
    ) -> Result<Self, Refusal> {
        for first in (0..capacity).step_by(CENSUS as usize) {
            ask(adopt, first.into())?;
        }
        Ok(Self(totals))
    }

    /// What the ledger says.
    pub(super) fn totals(&self) -> Vec<KindTotals> {
        self.read().collect()
    }

    fn read(&self) -> impl Iterator<Item = KindTotals> {
        Kind::ALL.into_iter().map(|kind| {
            let totals = self.0.get(kind as usize).unwrap_or_default();
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

    /// What the last walk has counted.
    fn counted(&self) -> Counts {
        let mut counts = Counts::default();
        for kind in Kind::ALL {
            let index = kind as usize;
            counts[index] = self.0.get(index).unwrap_or_default().counted;
        }
        counts
    }

    /// Holds the ledger against its witnesses, and changes nothing. `None` where there was no quiet moment for it.
    pub(super) fn compare(&self, walk: &Walk, ebpf: &Ebpf) -> Result<Option<Comparison>, Refusal> {
        for _ in 0..ATTEMPTS {
            walk.count(ebpf)?;
            let counted = self.counted();
            let before: Vec<_> = self.read().collect();
            let proc = witness::count().map_err(|error| Refusal::new("read /proc/self/fd", &error))?;
            walk.count(ebpf)?;
            let again = self.counted();
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
