//! What the agent believes that it holds: every connection from the moment it is opened
//! to the moment it is closed, by socket inode.
//!
//! The kernel half keeps its own ledger of the same inodes; what one has and the other has
//! not is a leak. So an [`Entry`] lives *inside* the object that owns the descriptor and is
//! struck out by its drop: there is no path on which one ends and the other stays.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::record::ContainerId;

/// A socket's inode: what `/proc/PID/fd` shows as `socket:[N]`, and `ss -e` as `ino:N`.
pub type Inode = u64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Short requests: ping, list, inspect.
    Control,
    /// The engine's event stream.
    Events,
    /// One container's log.
    Logs,
}

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Control => "control",
            Purpose::Events => "events",
            Purpose::Logs => "logs",
        }
    }
}

/// One open connection, as the agent believes.
#[derive(Clone, Debug)]
pub struct Held {
    pub inode: Inode,
    pub fd: RawFd,
    pub purpose: Purpose,
    pub container: Option<ContainerId>,
    pub opened: Instant,
}

/// All open connections, as the agent believes.
#[derive(Clone, Debug, Default)]
pub struct Register {
    held: Arc<Mutex<HashMap<Inode, Held>>>,
}

impl Register {
    /// Enters a connected socket. It stays entered until the returned entry is dropped.
    pub fn enter(&self, socket: impl AsFd, purpose: Purpose, container: Option<ContainerId>) -> io::Result<Entry> {
        let fd = socket.as_fd();
        let inode = rustix::fs::fstat(fd)?.st_ino;
        let held = Held {
            inode,
            fd: fd.as_raw_fd(),
            purpose,
            container,
            opened: Instant::now(),
        };
        self.lock().insert(inode, held);
        Ok(Entry {
            inode,
            register: self.clone(),
        })
    }

    /// Everything that is held now.
    pub fn snapshot(&self) -> Vec<Held> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Inode, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the register.
#[derive(Debug)]
pub struct Entry {
    inode: Inode,
    register: Register,
}

impl Entry {
    pub fn inode(&self) -> Inode {
        self.inode
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.register.lock().remove(&self.inode);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_entry_lives_as_long_as_its_guard() {
        let register = Register::default();
        let (socket, _peer) = UnixStream::pair().unwrap();
        let container = ContainerId::new("abc");
        let entry = register.enter(&socket, Purpose::Logs, Some(container.clone())).unwrap();

        let held = register.snapshot();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].inode, entry.inode());
        assert_eq!(held[0].fd, socket.as_raw_fd());
        assert_eq!(held[0].container, Some(container));
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", entry.inode()));

        drop(entry);
        assert!(register.snapshot().is_empty());
    }
}
