//! How many connections each peer had. Peers are never removed: those that found room at the opening are there at the close,
//! and the others still are not.

use abi::{Limited, Peer, Totals};
use aya_ebpf::bindings::BPF_NOEXIST;

use crate::{
    atomic::Cell,
    maps::{PEERS, refused},
};

const E2BIG: i32 = 7;

/// `None`: there is no room for it. Its connections count as others' ([`of_others`]).
#[inline(always)]
pub fn of(peer: &Peer) -> Option<Counters> {
    PEERS.get_ptr_mut(peer).map(Counters)
}

#[inline(always)]
pub fn first_of(peer: &Peer) -> Option<Counters> {
    if PEERS.insert(peer, Totals::ZERO, u64::from(BPF_NOEXIST)) == Err(-E2BIG) {
        refused(Limited::Peers);
    }
    of(peer).or_else(of_others)
}

#[inline(always)]
pub fn of_others() -> Option<Counters> {
    of(&Peer::OTHER)
}

/// [`Totals`] in their map.
pub struct Counters(*mut Totals);

impl Counters {
    #[inline(always)]
    pub fn opened(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).opened) }
    }

    #[inline(always)]
    pub fn closed(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).closed) }
    }

    #[inline(always)]
    pub fn closed_after_peer(&self) -> Cell {
        // SAFETY: a map's value.
        unsafe { Cell::new(&raw mut (*self.0).closed_after_peer) }
    }
}
