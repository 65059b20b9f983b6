//! What a descriptor is of.

/// The `kind` label of `kernel_fds`. 0 is left for a number that is not open.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Unix = 1,
    Tcp = 2,
    Udp = 3,
    /// Opened by a path, or made by `memfd_create`; with `O_PATH`, whatever it is a path to.
    File = 4,
    /// Also a FIFO that was opened by a path.
    Pipe = 5,
    Epoll = 6,
    Eventfd = 7,
    Timerfd = 8,
    /// Maps, programs, links and type information.
    Bpf = 9,
    Perf = 10,
    Other = 11,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Unix,
        Self::Tcp,
        Self::Udp,
        Self::File,
        Self::Pipe,
        Self::Epoll,
        Self::Eventfd,
        Self::Timerfd,
        Self::Bpf,
        Self::Perf,
        Self::Other,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unix => "unix",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::File => "file",
            Self::Pipe => "pipe",
            Self::Epoll => "epoll",
            Self::Eventfd => "eventfd",
            Self::Timerfd => "timerfd",
            Self::Bpf => "bpf",
            Self::Perf => "perf",
            Self::Other => "other",
        }
    }
}

/// Arrays with a cell for each kind are indexed by it; cell 0 is for what is not open.
pub const KINDS: u32 = Kind::ALL.len() as u32 + 1;

/// What tells a kind by its `file_operations`. Their addresses are learned from samples: `/proc/kallsyms` takes rights
/// that nothing else here needs.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// Of any family.
    Socket = 0,
    Pipe = 1,
    Epoll = 2,
    Eventfd = 3,
    Timerfd = 4,
    /// Its inode is of a file system without paths, as those of [`Kind::Other`] are.
    Memfd = 5,
    BpfMap = 6,
    BpfProgram = 7,
    BpfLink = 8,
    BpfTypes = 9,
    Perf = 10,
    /// Opened with `O_PATH`: such a file has the operations of none.
    Path = 11,
    /// `memfd_secret`, which `/proc` gives a path as it does a memfd's.
    Secret = 12,
}

pub const SAMPLES: usize = 13;

/// `preexisting + opened - closed` is what is open.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    /// Open when the watch began.
    pub preexisting: u64,
    pub opened: u64,
    pub closed: u64,
    /// The part of `opened` that no system call's exit told of: found in the table, at the latest at its close.
    pub found: u64,
    /// Changes that should have been seen, and were only put right by a repair.
    pub repaired: u64,
    /// What the running survey of the table has counted.
    pub counted: u64,
}

const _: () = assert!(size_of::<KindTotals>() == 48);
