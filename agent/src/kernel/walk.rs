//! Walks of the kernel half through the process's table of descriptors: what is, whatever the hooks have told.
//!
//! A walk meets calls that are under way, of which the hook at their exit will make the ledger right. So what disagrees is
//! looked at twice, a moment apart, and only what disagrees both times is put right and counted.

use std::thread;
use std::time::Duration;

use abi::CENSUS;
use aya::Ebpf;

use super::{
    calls::Calls,
    ledger::{Entry, Ledger},
    mapped::Mapped,
    object::{ask_two, raw_tracepoint},
    refusal::Refusal,
};

/// Longer than a call takes that only changes the table; the agent's thread waits for it only where something disagrees.
const MOMENT: Duration = Duration::from_millis(1);

/// `WALK`
pub(super) struct Walk(Mapped<abi::Walk>);

impl Walk {
    pub(super) fn new(answer: Mapped<abi::Walk>) -> Self {
        Self(answer)
    }

    fn answer(&self) -> abi::Walk {
        self.0.get(0).unwrap_or_default()
    }

    /// Whether one of the process's descriptors is this socket, now.
    pub(super) fn finds(&self, ebpf: &Ebpf, inode: u64) -> Result<bool, Refusal> {
        let seek = raw_tracepoint(ebpf, "seek")?;
        let mut first = 0;
        loop {
            ask_two(seek, first, inode)?;
            let answer = self.answer();
            first += u64::from(CENSUS);
            if answer.found != 0 || first >= answer.end {
                return Ok(answer.found != 0);
            }
        }
    }

    /// Counts the descriptors. Gives the blocks in which the ledger disagrees, by their first number.
    pub(super) fn count(&self, ebpf: &Ebpf) -> Result<Vec<u64>, Refusal> {
        let census = raw_tracepoint(ebpf, "census")?;
        let mut doubtful = Vec::new();
        let mut first = 0;
        loop {
            ask_two(census, first, 0)?;
            let answer = self.answer();
            if answer.doubts != 0 {
                doubtful.push(first);
            }
            first += u64::from(CENSUS);
            if first >= answer.end {
                return Ok(doubtful);
            }
        }
    }

    /// Makes the ledger agree with the table.
    pub(super) fn reconcile(&self, ebpf: &Ebpf, ledger: &Ledger, calls: &Calls) -> Result<(), Refusal> {
        let doubtful = self.count(ebpf)?;
        if !doubtful.is_empty() {
            thread::sleep(MOMENT);
            let census = raw_tracepoint(ebpf, "census")?;
            for first in doubtful {
                ask_two(census, first, 1)?;
            }
        }
        self.bury(ebpf, ledger, calls)
    }

    /// Ends the connections' entries that no descriptor leads to: a hook has kept hold of them, of which the other one was
    /// missed.
    fn bury(&self, ebpf: &Ebpf, ledger: &Ledger, calls: &Calls) -> Result<(), Refusal> {
        // They are looked for only where the numbers do not agree, for it takes two system calls an entry.
        if self.answer().entries == ledger.held() {
            return Ok(());
        }
        let (unheld, under_way) = (ledger.unheld()?, calls.now()?);
        thread::sleep(MOMENT);
        let still = |entry: &Entry| unheld.contains(entry);
        let unheld: Vec<_> = ledger.unheld()?.into_iter().filter(still).collect();
        for (thread, call) in calls.now()? {
            let is_old = under_way.get(&thread).is_some_and(|before| *before == call);
            if is_old && unheld.iter().any(|entry| entry.inode == call.inode) {
                calls.give_up(ebpf, thread)?;
            }
        }
        let bury = raw_tracepoint(ebpf, "bury")?;
        for entry in ledger.unheld()?.into_iter().filter(still) {
            ask_two(bury, entry.inode, entry.holders)?;
        }
        Ok(())
    }
}
