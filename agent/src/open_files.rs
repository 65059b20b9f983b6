//! How many files and sockets the process may have open, and those that are kept for what must go on when they run short.
//!
//! The kernel refuses what would be beyond the soft limit, and the process may move that limit below the hard one as it
//! likes. So the soft limit stays below the hard one by a reserve, and is raised for as long as something is opened that
//! must not fail: the saved positions, a client of the admin server, the questions to the engine that are not about one
//! log.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More is never wanted. Some hosts allow a billion, and a table for so many would be large.
const MOST: u64 = 1 << 20;
/// What is kept where the limit is large enough.
const RESERVE: u64 = 32;

/// The limits in force, and who needs the reserve now.
#[derive(Debug)]
struct Limits {
    /// With the reserve.
    all: u64,
    reserve: u64,
    users: usize,
}

static LIMITS: Mutex<Option<Limits>> = Mutex::new(None);

fn limits() -> MutexGuard<'static, Option<Limits>> {
    LIMITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The limit as the process was given it, and as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The soft limit at the start.
    pub from: u64,
    /// What may be open now, with the reserve.
    pub to: u64,
}

/// Raises the limit to the hard one.
pub fn raise() -> io::Result<Raised> {
    let given = getrlimit(Resource::Nofile);
    let hard = given.maximum.unwrap_or(MOST).min(MOST);
    let from = given.current.unwrap_or(MOST);
    let to = hard.max(from.min(MOST));
    set(to)?;
    Ok(Raised { from, to })
}

/// Keeps a reserve from now on. What is open already does not count.
pub fn keep_reserve() -> io::Result<()> {
    let mut limits = limits();
    let all = getrlimit(Resource::Nofile).current.unwrap_or(MOST);
    let reserve = RESERVE.min(all / 4);
    set(all - reserve)?;
    *limits = Some(Limits { all, reserve, users: 0 });
    Ok(())
}

/// Opens something that must not fail for want of a descriptor.
pub fn with_reserve<T>(open: impl FnOnce() -> T) -> T {
    let _user = User::new();
    open()
}

/// How many more may be opened without the reserve; `None` where that cannot be told.
pub fn left() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile).current?;
    // The folder itself is open meanwhile.
    let open = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    Some(limit.saturating_sub(open as u64))
}

/// Has the limit raised while it lives.
struct User;

impl User {
    fn new() -> Self {
        Self::change(|limits| limits.users += 1);
        Self
    }

    fn change(change: impl FnOnce(&mut Limits)) {
        if let Some(limits) = &mut *limits() {
            change(limits);
            let kept = if limits.users == 0 { limits.reserve } else { 0 };
            // It cannot fail below the hard limit; and if it does, what is opened says so.
            let _ = set(limits.all - kept);
        }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        Self::change(|limits| limits.users = limits.users.saturating_sub(1));
    }
}

/// The soft limit. The hard one stays: lowered, it could not be raised again.
fn set(soft: u64) -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(soft),
            maximum,
        },
    )
}
