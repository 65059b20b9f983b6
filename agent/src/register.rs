//! What the agent believes that it holds: every connection from the moment it is opened
//! to the moment it is closed, by socket inode.
//!
//! The kernel half keeps its own ledger of the same inodes; what one has and the other has
//! not is a leak. So an [`Entry`] lives *inside* the object that owns the descriptor and is
//! struck out by its drop: there is no path on which one ends and the other stays.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::record::ContainerId;

/// A socket's inode: what `/proc/PID/fd` shows as `socket:[N]`, and `ss -e` as `ino:N`.
pub type Inode = u64;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Short requests: ping, list.
    Control,
    /// The engine's event stream.
    Events,
    /// One container's log.
    Logs,
    /// A sink's store.
    Delivery,
}

impl Purpose {
    /// The name that pages show it by.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Control => "control",
            Purpose::Events => "events",
            Purpose::Logs => "logs",
            Purpose::Delivery => "delivery",
        }
    }
}

/// The call that opens a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Site {
    /// A short request found no idle connection.
    Pool,
    /// The event stream is opened, for the first time or after it ended.
    Events,
    /// A container's log is opened, for the first time or after its stream ended.
    Follow,
    /// A second connection takes over a container's log.
    Rotation,
    /// A sink posts records to its store.
    Sink,
}

impl Site {
    /// All of them.
    pub const ALL: [Site; 5] = [Site::Pool, Site::Events, Site::Follow, Site::Rotation, Site::Sink];

    /// What a connection opened by this call is for.
    pub fn purpose(self) -> Purpose {
        match self {
            Site::Pool => Purpose::Control,
            Site::Events => Purpose::Events,
            Site::Follow | Site::Rotation => Purpose::Logs,
            Site::Sink => Purpose::Delivery,
        }
    }

    /// A stable name of the call, for people and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Site::Pool => "pool",
            Site::Events => "events",
            Site::Follow => "follow",
            Site::Rotation => "rotation",
            Site::Sink => "sink",
        }
    }
}

/// Who opens a connection, and for which container.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The call that opens it.
    pub site: Site,
    /// The container, if it is for one.
    pub container: Option<ContainerId>,
}

/// One open connection, as the agent believes.
#[derive(Clone, Debug)]
pub struct Held {
    /// The inode of its socket.
    pub inode: Inode,
    /// The descriptor that it was entered with.
    pub fd: RawFd,
    /// Who opened it.
    pub opening: Opening,
    /// When it was entered.
    pub opened: Instant,
    /// A read has shown the end of what the peer sends.
    pub eof_read: bool,
    /// Nothing is read for now, because the sinks have no room.
    pub waits_for_room: bool,
    /// The container has been removed meanwhile.
    pub container_gone: bool,
}

/// What changes while a connection is open; set on the way of a read, so without a lock.
#[derive(Debug, Default)]
struct Flags {
    eof_read: AtomicBool,
    waits_for_room: AtomicBool,
    container_gone: AtomicBool,
}

#[derive(Debug)]
struct Record {
    fd: RawFd,
    opening: Opening,
    opened: Instant,
    flags: Arc<Flags>,
}

/// Is told who opens a connection, on the thread that does, around the system call.
pub trait OnConnect: Send + Sync {
    /// Runs `connect` once.
    fn around(&self, opening: &Opening, connect: &mut dyn FnMut());
}

/// All open connections, as the agent believes.
#[derive(Clone, Default)]
pub struct Register {
    held: Arc<Mutex<HashMap<Inode, Record>>>,
    on_connect: Option<Arc<dyn OnConnect>>,
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register")
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl Register {
    /// An empty register. `on_connect` is called around each `connect`.
    pub fn new(on_connect: Option<Arc<dyn OnConnect>>) -> Self {
        Self {
            held: Arc::default(),
            on_connect,
        }
    }

    /// Runs `connect`, which connects on this thread and without waiting.
    pub fn connecting<T>(&self, opening: &Opening, connect: impl FnOnce() -> T) -> T {
        let Some(hook) = &self.on_connect else {
            return connect();
        };
        let mut connect = Some(connect);
        let mut connected = None;
        hook.around(opening, &mut || connected = connect.take().map(|connect| connect()));
        match (connected, connect) {
            (Some(connected), _) => connected,
            (None, Some(connect)) => connect(),
            (None, None) => unreachable!("taken to be run"),
        }
    }

    /// Enters a connected socket. It stays entered until the returned entry is dropped.
    pub fn enter(&self, socket: impl AsFd, opening: Opening) -> io::Result<Entry> {
        let fd = socket.as_fd();
        let inode = rustix::fs::fstat(fd)?.st_ino;
        let flags = Arc::new(Flags::default());
        let record = Record {
            fd: fd.as_raw_fd(),
            opening,
            opened: Instant::now(),
            flags: Arc::clone(&flags),
        };
        self.lock().insert(inode, record);
        Ok(Entry {
            inode,
            flags,
            register: self.clone(),
        })
    }

    /// Everything that is held now.
    pub fn snapshot(&self) -> Vec<Held> {
        let held = |(&inode, record): (&Inode, &Record)| Held {
            inode,
            fd: record.fd,
            opening: record.opening.clone(),
            opened: record.opened,
            eof_read: record.flags.eof_read.load(Ordering::Relaxed),
            waits_for_room: record.flags.waits_for_room.load(Ordering::Relaxed),
            container_gone: record.flags.container_gone.load(Ordering::Relaxed),
        };
        self.lock().iter().map(held).collect()
    }

    /// A container has been removed: connections that are still open for it have no use.
    pub fn container_gone(&self, container: &ContainerId) {
        for record in self.lock().values() {
            if record.opening.container.as_ref() == Some(container) {
                record.flags.container_gone.store(true, Ordering::Relaxed);
            }
        }
    }

    /// How many connections are held now.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Inode, Record>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the register.
#[derive(Debug)]
pub struct Entry {
    inode: Inode,
    flags: Arc<Flags>,
    register: Register,
}

impl Entry {
    /// The inode of its socket.
    pub fn inode(&self) -> Inode {
        self.inode
    }

    /// A read has shown the end of what the peer sends.
    pub fn eof_read(&self) {
        self.flags.eof_read.store(true, Ordering::Relaxed);
    }

    /// Whether reading stands still because the sinks have no room.
    pub fn waits_for_room(&self, waits: bool) {
        self.flags.waits_for_room.store(waits, Ordering::Relaxed);
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
        let container = Some(ContainerId::new("abc"));
        let opening = Opening {
            site: Site::Follow,
            container: container.clone(),
        };
        let entry = register.enter(&socket, opening).unwrap();

        let held = register.snapshot();
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].inode, entry.inode());
        assert_eq!(held[0].fd, socket.as_raw_fd());
        assert_eq!(held[0].opening.container, container);
        assert!(!held[0].eof_read && !held[0].waits_for_room);
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        assert_eq!(link.to_str().unwrap(), format!("socket:[{}]", entry.inode()));

        entry.eof_read();
        entry.waits_for_room(true);
        let held = register.snapshot();
        assert!(held[0].eof_read && held[0].waits_for_room);

        register.container_gone(&ContainerId::new("other"));
        assert!(!register.snapshot()[0].container_gone);
        register.container_gone(&ContainerId::new("abc"));
        assert!(register.snapshot()[0].container_gone);

        drop(entry);
        assert_eq!(register.count(), 0);
    }

    #[test]
    fn the_hook_is_around_the_connect_and_told_who_does_it() {
        #[derive(Default)]
        struct Hook(Mutex<Vec<String>>);
        impl OnConnect for Hook {
            fn around(&self, opening: &Opening, connect: &mut dyn FnMut()) {
                self.0.lock().unwrap().push(format!("before {}", opening.site.as_str()));
                connect();
                self.0.lock().unwrap().push("after".into());
            }
        }
        let hook = Arc::new(Hook::default());
        let register = Register::new(Some(hook.clone()));
        let opening = Opening {
            site: Site::Events,
            container: None,
        };
        let connected = register.connecting(&opening, || {
            hook.0.lock().unwrap().push("connect".into());
            7
        });
        assert_eq!(connected, 7);
        let said = hook.0.lock().unwrap();
        assert_eq!(*said, ["before events", "connect", "after"]);
    }
}
