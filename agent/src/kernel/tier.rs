//! How the kernel is watched.

/// How the kernel is watched, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// By programs at the entry and exit of kernel functions.
    Fentry,
    /// By programs at the tracepoints of system calls.
    Tracepoint,
    /// Not at all.
    None,
}

impl Tier {
    /// All of them, best first.
    pub const ALL: [Self; 3] = [Self::Fentry, Self::Tracepoint, Self::None];

    /// The `tier` label of `kernel_up`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Tracepoint => "tracepoint",
            Self::None => "none",
        }
    }
}
