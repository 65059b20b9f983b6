//! Who opened a connection, in the opener's own words: set around `connect` on the same thread.

/// Means something to the agent alone. All zero: no mark.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// The number of the call in the agent's code, from 1 on.
    pub site: u32,
    /// How much of the tag is used.
    pub len: u32,
    /// For what it is opened: a container's id is as long.
    pub tag: [u8; 32],
}

impl Mark {
    /// No mark.
    pub const NONE: Self = Self {
        site: 0,
        len: 0,
        tag: [0; 32],
    };
}

/// The mark that is set now. One thread at a time sets it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Marker {
    /// Whose connections bear the mark, by its outermost id; 0 for nobody's.
    pub thread: u64,
    /// The outermost id of the thread that asked for it by `whoami`.
    pub asked: u64,
    /// What its connections bear.
    pub mark: Mark,
}

const _: () = assert!(size_of::<Mark>() == 40);
const _: () = assert!(size_of::<Marker>() == 56);
