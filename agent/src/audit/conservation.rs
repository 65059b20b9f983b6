//! The law that the ledger of descriptors is held to at every scan, and what is said when it is broken.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::metrics::DriftMetrics;
use crate::kernel::Kernel;
use crate::kernel::{Drift, Witness};

/// Holds the ledger against its witnesses, for as long as it is polled.
pub async fn conserve(kernel: Arc<Kernel>, interval: Duration, metrics: DriftMetrics) {
    let mut conservation = Conservation {
        metrics,
        told: String::new(),
    };
    loop {
        tokio::time::sleep(interval).await;
        conservation.check(&kernel);
    }
}

struct Conservation {
    metrics: DriftMetrics,
    /// The differences that the last comparison found: each is told once.
    told: String,
}

impl Conservation {
    fn check(&mut self, kernel: &Kernel) {
        let drifts = match kernel.drift() {
            Ok(Some(drifts)) => drifts,
            // Other threads were opening and closing all the while.
            Ok(None) => return,
            Err(error) => return warn!(%error, "cannot compare the ledger of descriptors with its witnesses"),
        };
        for witness in Witness::ALL {
            let difference = whole(&drifts, witness);
            self.metrics
                .drift
                .with_label_values(&[witness.as_str()])
                .set(difference);
        }
        // A walk has just put the ledger right: what differs now, a walk cannot mend.
        let differences = spelled(&drifts);
        if !drifts.is_empty() && differences != self.told {
            error!(%differences, "the ledger of descriptors and its witnesses disagree");
        }
        self.told = differences;
    }
}

/// The difference of the sums; where those agree and kinds are mistaken for each other, the largest of a kind.
fn whole(drifts: &[Drift], witness: Witness) -> i64 {
    let of = drifts.iter().filter(|drift| drift.witness == witness);
    let differences: Vec<i64> = of.map(|drift| drift.difference).collect();
    match differences.iter().sum() {
        0 => differences.into_iter().max().unwrap_or(0),
        sum => sum,
    }
}

fn spelled(drifts: &[Drift]) -> String {
    let one = |drift: &Drift| {
        let (witness, kind) = (drift.witness.as_str(), drift.kind.as_str());
        format!("{kind}: {:+} against {witness}", drift.difference)
    };
    drifts.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Kind;

    fn drift(kind: Kind, difference: i64) -> Drift {
        Drift {
            witness: Witness::Proc,
            kind,
            difference,
        }
    }

    #[test]
    fn a_difference_is_never_hidden_by_another() {
        let drifts = [drift(Kind::Unix, -1), drift(Kind::File, 1)];
        assert_eq!(whole(&drifts, Witness::Proc), 1);
        assert_eq!(whole(&drifts, Witness::Iterator), 0);
        assert_eq!(whole(&drifts[..1], Witness::Proc), -1);
        assert_eq!(spelled(&drifts), "unix: -1 against proc, file: +1 against proc");
    }
}
