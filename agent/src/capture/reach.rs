//! How far back from its end a log is asked for, when reading goes on.
//!
//! A number of records, and no time: a clock that was set back, and on again, hides lines from an engine that goes by the
//! time. The number grows until the last known line is among the records, or they are all that there is.

/// Records that are asked for first: more than can be written while a stream is reopened, nearly always. Parts of long
/// lines count, too.
const USUAL: u32 = 2_000;
/// And where the last known line is not among them.
const FAR: u32 = 100_000;

/// What the next stream is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    breadth: Breadth,
    /// Records before so many of the last ones cannot be had: the engine cannot decode one of them.
    limit: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breadth {
    End,
    Far,
    All,
}

impl Reach {
    /// The end of the log only: it costs the engine little.
    pub const END: Self = Self {
        breadth: Breadth::End,
        limit: None,
    };
    /// All that there is.
    pub const ALL: Self = Self {
        breadth: Breadth::All,
        limit: None,
    };

    /// The records to ask for; `None`: all of them.
    pub fn records(self) -> Option<u32> {
        let wanted = match self.breadth {
            Breadth::End => Some(USUAL),
            Breadth::Far => Some(FAR),
            Breadth::All => None,
        };
        wanted.into_iter().chain(self.limit).min()
    }

    /// Whether there are records before the first that can be had.
    pub fn is_limited(self) -> bool {
        self.limit.is_some()
    }

    /// All of the last records that the engine can decode.
    pub fn all_of(records: u32) -> Self {
        Self {
            breadth: Breadth::All,
            limit: Some(records),
        }
    }

    /// So many lines have come since, each of them one record or more.
    pub fn grown(self, lines: u64) -> Self {
        let grown = |limit: u32| limit.saturating_add(lines.try_into().unwrap_or(u32::MAX));
        Self {
            limit: self.limit.map(grown).filter(|limit| *limit < FAR),
            ..self
        }
    }

    /// Only the end of the log again.
    pub fn the_end(self) -> Self {
        Self {
            breadth: Breadth::End,
            ..self
        }
    }

    /// All that there is.
    pub fn all(self) -> Self {
        Self {
            breadth: Breadth::All,
            ..self
        }
    }

    /// Whether only the end of the log is asked for.
    pub fn is_of_the_end(self) -> bool {
        self.breadth == Breadth::End
    }

    /// Whether there is no more to ask for.
    pub fn is_all(self) -> bool {
        self.breadth == Breadth::All
    }

    /// What to ask for where this was not enough.
    pub fn farther(self) -> Self {
        let breadth = match self.breadth {
            Breadth::End => Breadth::Far,
            Breadth::Far | Breadth::All => Breadth::All,
        };
        // More may have been written since the limit was found out: what cannot be decoded may be farther from the end.
        Self { breadth, limit: None }
    }
}
