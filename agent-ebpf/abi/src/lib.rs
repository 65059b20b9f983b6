//! What the kernel half and the agent share: plain structs, and the one definition of a connection's state.
#![no_std]

mod histogram;
mod hook;
mod kind;
mod layout;
mod mark;
mod repair;
mod stamp;
mod state;

pub use histogram::{BOUNDS_NS, BUCKETS, Histogram, MEASURES, Measure};
pub use hook::{FUNCTIONS, HOOKS, TRACEPOINTS, hook};
pub use kind::{KINDS, Kind, KindTotals, SAMPLES, Sample};
pub use layout::{Bits, Layout};
pub use mark::{Mark, Marker};
pub use repair::{CAUSES, Cause, Walk};
pub use stamp::STAMP;
pub use state::{Ends, Phase, State, tcp};

/// `AF_INET`: the peer's name is its port and its address, both as on the wire.
pub const INET: u16 = 2;
/// `AF_INET6`: so here. An IPv4 address that an IPv6 socket is connected to is written as IPv4's.
pub const INET6: u16 = 10;

/// `sun_path` has 108 bytes and need not be terminated; the rest is room for the terminator that
/// `bpf_probe_read_user_str` always writes, and makes the struct a multiple of eight.
pub const NAME_LEN: usize = 116;

/// Where a connection leads. Bytes past `len` are zero, so that equal addresses are equal keys.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// `AF_UNIX`, [`INET`] or [`INET6`]; 0 in [`Self::OTHER`].
    pub family: u16,
    /// How many bytes of the name are used.
    pub len: u16,
    /// The path or the abstract name of a unix socket. For TCP: the port, then the address, in
    /// network order.
    pub name: [u8; NAME_LEN],
}

impl Peer {
    /// Takes the totals of every peer for which the map of totals has no room.
    pub const OTHER: Self = Self {
        family: 0,
        len: 0,
        name: [0; NAME_LEN],
    };
}

/// A live connection; the key of its map is the inode.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The socket's inode number.
    pub inode: u64,
    /// Its `struct sock`: an address in the kernel, for the programs only.
    pub sk: u64,
    /// `bpf_ktime_get_boot_ns` when it was established; until then, when it was entered.
    pub opened_ns: u64,
    /// The same clock when the peer's end was first seen; 0: it has not been.
    pub ended_ns: u64,
    /// [`Phase`], changed atomically only.
    pub phase: u64,
    /// How many hold it: descriptors, and for a moment a running program or system call.
    /// At 0 the entry is dead and about to be removed. This and the next two are changed atomically only.
    pub holders: u64,
    /// The bits that our own `shutdown(2)` added to `sk_shutdown`.
    pub own_shutdown: u64,
    /// [`State`] at the last attempt to close a descriptor of it.
    pub state_at_close: u64,
    /// Who opened it, as the agent has said.
    pub mark: Mark,
    /// Where it leads.
    pub peer: Peer,
}

/// The connections to one peer since the watch began.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many were opened.
    pub opened: u64,
    /// How many of those were closed.
    pub closed: u64,
    /// The part of `closed` where the peer had ended first.
    pub closed_after_peer: u64,
}

impl Totals {
    /// A peer without connections.
    pub const ZERO: Self = Self {
        opened: 0,
        closed: 0,
        closed_after_peer: 0,
    };
}

/// A system call under way on one thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The connection held for the duration of the call, 0 for none.
    pub inode: u64,
    /// In the process's memory: `connect`'s address, or where `pipe` and `socketpair` put their two descriptors.
    pub address: u64,
    /// `close_range`: the first.
    pub fd: u32,
    /// `connect`: the length of the address. `shutdown`: the bits that are ours if it succeeds. `dup2`: the descriptor that
    /// is closed first. `close_range`: the last.
    pub detail: u32,
    /// Which call it is: its exit may be missed, and then the next exit on this thread is another call's.
    pub name: u64,
}

/// What `survey` says of one descriptor.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// 0: not a connection; so for the rest.
    pub inode: u64,
    /// See [`Connection::opened_ns`].
    pub opened_ns: u64,
    /// See [`Connection::ended_ns`].
    pub ended_ns: u64,
    /// See [`Connection::own_shutdown`].
    pub own_shutdown: u64,
    /// See [`Connection::mark`].
    pub mark: Mark,
    /// Both ends as the survey has found them.
    pub ends: Ends,
    /// Where the connection leads.
    pub peer: Peer,
}

/// How many descriptors one run of `survey` goes through.
pub const SURVEY: u32 = 32;

/// How many descriptors one run of `adopt`, `census` and `seek` goes through.
pub const CENSUS: u32 = 64;

/// Maps that can refuse an entry; the index of its counter in `FAILURES`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    /// `CONNECTIONS`: one entry for each live connection.
    Connections = 0,
    /// `DESCRIPTORS`: a cell for each descriptor number.
    Descriptors = 1,
    /// `CALLS`: one entry for each thread that is in a watched system call.
    Calls = 2,
    /// `PEERS`: one entry for each peer that was ever connected to.
    Peers = 3,
}

/// How many of them there are.
pub const LIMITED: u32 = 4;

/// `CONNECT_ERRORS` is indexed by errno; Linux ends at `EHWPOISON`, 133.
pub const ERRNOS: u32 = 134;

const _: () = assert!(size_of::<Peer>() == 120);
const _: () = assert!(size_of::<Connection>() == 224);
const _: () = assert!(size_of::<Totals>() == 24);
const _: () = assert!(size_of::<Call>() == 32);
const _: () = assert!(size_of::<Answer>() == 208);

#[cfg(feature = "user")]
#[expect(
    unsafe_code,
    reason = "that a struct may be copied from a map as its bytes is for us to promise"
)]
mod pod {
    // SAFETY: all are repr(C), Copy, made of integers and arrays of them, without padding (sizes asserted above).
    unsafe impl aya::Pod for super::Peer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Connection {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Totals {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Answer {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Layout {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::KindTotals {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Marker {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Histogram {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Walk {}
    // SAFETY: as above.
    unsafe impl aya::Pod for super::Call {}
}
