//! What a read of a log can bring.

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes; the lines in them have been lent.
    Read(usize),
    /// The log has ended, for now. Nothing says why.
    Ended,
}
