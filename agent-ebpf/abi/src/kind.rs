//! What a descriptor is of.

/// The `kind` label of `kernel_fds`. 0 is left for a number that is not open.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A socket of `AF_UNIX`, of any type.
    Unix = 1,
    /// A stream socket of `AF_INET` or `AF_INET6`.
    Tcp = 2,
    /// A datagram socket of `AF_INET` or `AF_INET6`.
    Udp = 3,
    /// Opened by a path, or made by `memfd_create`; with `O_PATH`, whatever it is a path to.
    File = 4,
    /// Either end of a pipe, or a FIFO.
    Pipe = 5,
    /// Made by `epoll_create`.
    Epoll = 6,
    /// Made by `eventfd`.
    Eventfd = 7,
    /// Made by `timerfd_create`.
    Timerfd = 8,
    /// Maps, programs, links and type information.
    Bpf = 9,
    /// Made by `perf_event_open`.
    Perf = 10,
    /// Anything else, such as a socket of another family, an inotify instance or a pidfd.
    Other = 11,
}

impl Kind {
    /// All of them, in the order of their numbers.
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

    /// The label that metrics and pages show it by.
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

/// What tells a kind by its `file_operations`. Their addresses are found by samples: `/proc/kallsyms` takes rights
/// that nothing else here needs.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// A socket of any family.
    Socket = 0,
    /// Either end of a pipe.
    Pipe = 1,
    /// An epoll instance.
    Epoll = 2,
    /// An eventfd.
    Eventfd = 3,
    /// A timerfd.
    Timerfd = 4,
    /// Its inode is of a file system without paths, as those of [`Kind::Other`] are.
    Memfd = 5,
    /// A BPF map.
    BpfMap = 6,
    /// A BPF program.
    BpfProgram = 7,
    /// The attachment of a BPF program (a BPF link).
    BpfLink = 8,
    /// Type information (BTF) that was loaded by `bpf`.
    BpfTypes = 9,
    /// A perf event.
    Perf = 10,
    /// Opened with `O_PATH`: such a file has the operations of none.
    Path = 11,
    /// `memfd_secret`, which `/proc` gives a path as it does a memfd's.
    Secret = 12,
    /// A namespace: its inode is of a file system that can be bound to a path, and `/proc` gives it none.
    Namespace = 13,
}

/// How many samples there are.
pub const SAMPLES: usize = 14;

/// `preexisting + opened - closed` is what is open.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindTotals {
    /// Open when the watch began.
    pub preexisting: u64,
    /// Came to be open since.
    pub opened: u64,
    /// Came to be closed since.
    pub closed: u64,
    /// The part of `opened` that no system call's exit told of: found in the table, at the latest at its close.
    pub found: u64,
    /// Changes that should have been seen, and were only put right by a repair.
    pub repaired: u64,
    /// What the running survey of the table has counted.
    pub counted: u64,
}

const _: () = assert!(size_of::<KindTotals>() == 48);
