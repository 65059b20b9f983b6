//! What a walk through the process's table finds wrong in the ledger, and what it says besides.

/// Why an entry was put right: the `cause` label of `kernel_repairs_total`, and the index of its counter in `REPAIRS`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// An entry whose descriptor is gone, or is another file now.
    Close = 0,
    /// A descriptor without an entry, although every call that makes one has a hook. Tier fentry alone can tell.
    Open = 1,
    /// A socket that was known has become a connection.
    Connect = 2,
    /// A call began and was not seen to return.
    Call = 3,
    /// A connection's entry that no descriptor leads to.
    Entry = 4,
}

impl Cause {
    /// Every cause, in the order of the counters.
    pub const ALL: [Self; 5] = [Self::Close, Self::Open, Self::Connect, Self::Call, Self::Entry];

    /// The `cause` label of `kernel_repairs_total`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close_missed",
            Self::Open => "open_missed",
            Self::Connect => "connect_missed",
            Self::Call => "return_missed",
            Self::Entry => "entry_unheld",
        }
    }
}

/// How many causes there are.
pub const CAUSES: u32 = Cause::ALL.len() as u32;

/// What the programs that walk through the table answer with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walk {
    /// How far the table goes. Set when a census begins.
    pub end: u64,
    /// Entries that disagree with the table, in the block of the last run of `census`.
    pub doubts: u64,
    /// Not 0: `seek` has found the socket.
    pub found: u64,
    /// Entries in `CONNECTIONS`, counted as they come and go.
    pub entries: u64,
}

const _: () = assert!(size_of::<Walk>() == 32);
