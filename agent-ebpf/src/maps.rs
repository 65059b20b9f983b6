//! Every map. The agent sets the sizes before the load; a refused entry is counted in `FAILURES`.

use abi::{
    Answer, CAUSES, Call, Cause, Connection, ERRNOS, HOOKS, Histogram, KINDS, KindTotals, LIMITED, Limited, MEASURES,
    Marker, Peer, SAMPLES, SURVEY, Totals, Walk,
};
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap},
};

use crate::{
    atomic::{Cell, Global},
    kernel::AF_UNIX,
};

/// Not 0: the ends of AF_UNIX peers are seen when they happen, by tier fentry. Set before the load.
#[unsafe(no_mangle)]
pub static EXACT: aya_ebpf::Global<u8> = aya_ebpf::Global::new(0);

/// Whether a hook tells of such a socket what happens in other processes' time.
#[inline(always)]
pub fn is_told_of(family: u16) -> bool {
    family != AF_UNIX || EXACT.load() != 0
}

/// The agent's process, by its outermost id. Written by `identify`, read by every other program.
pub static OWNER: Global = Global::new(0);

/// Whether all descriptors are counted: from the first `adopt` on.
pub static WATCHING: Global = Global::new(0);

/// `Sample` → address of its `file_operations`, 0 while it is not known. Written by `calibrate`.
pub static OPERATIONS: [Global; SAMPLES] = [const { Global::new(0) }; SAMPLES];

/// Inode → connection, while it is held. Written here; read by the agent. Never an LRU, which would forget leaks.
/// Full: the connection is not entered and not counted as opened.
#[map]
pub static CONNECTIONS: HashMap<u64, Connection> = HashMap::with_max_entries(4096, 0);

/// `struct sock` of a connection → inode, of TCP and by tier fentry of all: where a socket changes its state there is no descriptor to go by. Written
/// and read here; as large as `CONNECTIONS`. Full, or wrong: that change is seen by the next look at the connection.
#[map]
pub static SOCKETS: HashMap<u64, u64> = HashMap::with_max_entries(4096, 0);

/// Descriptor → inode of its connection, 0 for none. Written here; the agent maps it into its memory.
/// An array, because its cells never move: they can be compared and swapped. Too small: the connection is not entered.
#[map]
pub static DESCRIPTORS: Array<u64> = Array::with_max_entries(1024, BPF_F_MMAPABLE);

/// Descriptor → what it is, see `table.rs`. As large as `DESCRIPTORS`. Too small: the descriptor is not counted.
#[map]
pub static TABLE: Array<u64> = Array::with_max_entries(1024, 0);

/// `Kind` → totals. The agent maps it into its memory.
#[map]
pub static KIND_TOTALS: Array<KindTotals> = Array::with_max_entries(KINDS, BPF_F_MMAPABLE);

/// Thread → its system call under way. Full: what the call did is missed.
#[map]
pub static CALLS: HashMap<u32, Call> = HashMap::with_max_entries(1024, 0);

/// Peer → totals; nothing is ever removed. Full: `Peer::OTHER`, which the agent enters first, takes the rest.
#[map]
pub static PEERS: HashMap<Peer, Totals> = HashMap::with_max_entries(64, 0);

/// Who connects now. The agent maps it into its memory and writes there; read at the end of `connect`.
#[map]
pub static MARKER: Array<Marker> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// `Measure` → how long. The agent maps it into its memory.
#[map]
pub static HISTOGRAMS: Array<Histogram> = Array::with_max_entries(MEASURES, BPF_F_MMAPABLE);

/// errno → failed connects.
#[map]
pub static CONNECT_ERRORS: Array<u64> = Array::with_max_entries(ERRNOS, 0);

/// `Limited` → refused entries.
#[map]
pub static FAILURES: Array<u64> = Array::with_max_entries(LIMITED, 0);

/// Program → how often it has run for the agent's process, by [`abi::hook`]; the agent maps it into its memory.
#[map]
pub static FIRED: Array<u64> = Array::with_max_entries(HOOKS, BPF_F_MMAPABLE);

/// `Cause` → entries that were put right.
#[map]
pub static REPAIRS: Array<u64> = Array::with_max_entries(CAUSES, 0);

/// What a walk answers with; the agent maps it into its memory, and walks one walk at a time.
#[map]
pub static WALK: Array<Walk> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// What `survey` found, a descriptor each; the agent maps it into its memory. The agent runs one survey at a time.
#[map]
pub static ANSWERS: Array<Answer> = Array::with_max_entries(SURVEY, BPF_F_MMAPABLE);

pub fn refused(map: Limited) {
    count(&FAILURES, map as u32);
}

pub fn has_refused_none(map: Limited) -> bool {
    // SAFETY: a map's value.
    FAILURES.get_ptr(map as u32).is_some_and(|count| unsafe { *count } == 0)
}

pub fn repaired(cause: Cause) {
    count(&REPAIRS, cause as u32);
}

/// A field of the walk's answer.
macro_rules! walk {
    ($field:ident) => {
        $crate::maps::WALK
            .get_ptr_mut(0)
            // SAFETY: a map's value.
            .map(|walk| unsafe { $crate::atomic::Cell::new(&raw mut (*walk).$field) })
    };
}
pub(crate) use walk;

pub fn count(counters: &Array<u64>, index: u32) {
    if let Some(counter) = counters.get_ptr_mut(index) {
        // SAFETY: a map's value.
        unsafe { Cell::new(counter) }.count();
    }
}
