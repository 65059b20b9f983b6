//! When a file is looked at: woken by the kernel where lines are rare, looked at with each rest of the thread where they
//! are not.
//!
//! ```text
//!                 lines at each look
//!   watched ───────────────────────────► hot: no watch; looked at after each rest of the thread
//!      ▲  ▲                               │
//!      │  └───────────────────────────────┘ nothing came for a while: watched again, *then* looked at once more
//!      │ the kernel gives a watch
//!   unwatched: looked at once a second, since the limits on watches or instances are used up; hot with its first line
//! ```
//!
//! A watch costs the writer about as much again as its write does, and each event the agent a waking up; a look at a file
//! that has nothing new costs one `pread(2)`. So a file that is written to all the time has no watch.
//!
//! The watch is on the folder: it tells of renames, too. Events merge only with the last one in the queue
//! (`fs/notify/inotify/inotify_fsnotify.c`), so the queue is emptied at each look, whatever is hot. Where it has
//! overflowed, everything is looked at.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

/// A number of files that were begun which nobody knows.
const UNKNOWN: u32 = u32::MAX / 2;
/// How often a file without a watch is looked at.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Wakes whoever reads a file.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

struct Shared {
    /// `None` where the kernel gives no instance.
    inotify: Option<AsyncFd<OwnedFd>>,
    /// Written to after each rest, so that what is hot is looked at and sockets are, too.
    rested: AsyncFd<OwnedFd>,
    state: Mutex<State>,
    /// How many files are hot, for the thread's rest.
    hot: AtomicU32,
}

#[derive(Default)]
struct State {
    /// By watch descriptor.
    watched: HashMap<i32, Arc<Look>>,
    hot: Vec<Arc<Look>>,
    unwatched: Vec<Weak<Look>>,
    /// A watch was refused, and it was told.
    told: bool,
}

/// What is known of one log's folder since it was looked at.
#[derive(Debug, Default)]
struct Look {
    waker: Mutex<Option<Waker>>,
    /// Files were renamed, created or removed.
    renamed: AtomicBool,
    /// Files that were created with the log's own name.
    begun: AtomicU32,
    name: String,
}

impl Look {
    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// How a log is looked at now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Watched(i32),
    Hot,
    Unwatched,
}

/// One log's place in the watcher; given back when dropped.
pub struct Watch {
    watcher: Watcher,
    look: Arc<Look>,
    how: How,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Watch").field(&self.how).finish()
    }
}

/// What has happened to the names of a log's files since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    Same,
    Changed,
    /// Nobody has told.
    Unknown,
}

impl Watcher {
    /// Must be called where the runtime is.
    pub fn new() -> io::Result<Self> {
        let rested = registered(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?)?;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(registered);
        let inotify = inotify
            .inspect_err(|error| {
                warn!(
                    %error,
                    "files cannot be watched: they are looked at once a second (see fs.inotify.max_user_instances)"
                );
            })
            .ok();
        Ok(Self(Arc::new(Shared {
            inotify,
            rested,
            state: Mutex::default(),
            hot: AtomicU32::new(0),
        })))
    }

    /// Watches a log's folder, in which the file that is written to has this name.
    pub fn watch(&self, folder: &Path, name: &str) -> Watch {
        let look = Arc::new(Look {
            name: name.to_owned(),
            ..Look::default()
        });
        let how = self.begin(folder, &look);
        Watch {
            watcher: self.clone(),
            look,
            how,
        }
    }

    fn begin(&self, folder: &Path, look: &Arc<Look>) -> How {
        let flags = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::ONLYDIR
            | WatchFlags::EXCL_UNLINK;
        let Some(inotify) = &self.0.inotify else {
            self.lock().unwatched.push(Arc::downgrade(look));
            return How::Unwatched;
        };
        match inotify::add_watch(inotify.get_ref(), folder, flags) {
            Ok(descriptor) => {
                self.lock().watched.insert(descriptor, Arc::clone(look));
                How::Watched(descriptor)
            }
            Err(error) => {
                let mut state = self.lock();
                if error == Errno::NOSPC && !std::mem::replace(&mut state.told, true) {
                    warn!(
                        "no more files can be watched (fs.inotify.max_user_watches): others are looked at once a second"
                    );
                }
                state.unwatched.push(Arc::downgrade(look));
                How::Unwatched
            }
        }
    }

    /// Empties the queue, and wakes whom it concerns.
    fn drain(&self) {
        let Some(inotify) = &self.0.inotify else {
            return;
        };
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
        let mut overflown = false;
        let state = self.lock();
        while let Ok(event) = reader.next() {
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                overflown = true;
                continue;
            }
            let Some(look) = state.watched.get(&event.wd()) else {
                continue;
            };
            if !flags.contains(ReadFlags::MODIFY) {
                let is_log = event
                    .file_name()
                    .is_some_and(|name| name.to_bytes() == look.name.as_bytes());
                if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) && is_log {
                    look.begun.fetch_add(1, Ordering::Relaxed);
                }
                look.renamed.store(true, Ordering::Relaxed);
            }
            look.wake();
        }
        if overflown {
            info!("more happened to files than the kernel tells of at once: all are looked at");
            for look in state.watched.values() {
                // How many files were begun is not known any more.
                look.begun.store(UNKNOWN, Ordering::Relaxed);
                look.renamed.store(true, Ordering::Relaxed);
                look.wake();
            }
        }
    }

    /// Wakes whom events concern, and looks at what has no watch, for ever.
    pub async fn run(self) {
        let mut unwatched = tokio::time::interval(UNWATCHED);
        unwatched.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let readable = async {
                match &self.0.inotify {
                    Some(inotify) => inotify.readable().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                readable = readable => {
                    self.drain();
                    if let Ok(mut readable) = readable {
                        readable.clear_ready();
                    }
                }
                rested = self.0.rested.readable() => {
                    if let Ok(mut rested) = rested {
                        rested.clear_ready();
                    }
                    self.lock().hot.iter().for_each(|look| look.wake());
                }
                _ = unwatched.tick() => {
                    self.lock().unwatched.retain(|look| look.upgrade().inspect(|look| look.wake()).is_some());
                }
            }
        }
    }

    /// Whether some file is looked at after each rest.
    pub fn is_hot(&self) -> bool {
        self.0.hot.load(Ordering::Relaxed) > 0
    }

    /// The thread has rested, and goes to wait for its sockets: what is hot is to be looked at, too. Waking a task from here
    /// would keep the thread from looking at the sockets (tokio, `current_thread`).
    pub fn rested(&self) {
        if self.is_hot() {
            // It can only fail where it was written to 2^64 times.
            let _ = rustix::io::write(&self.0.rested, &1_u64.to_ne_bytes());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a log.
    fn end(&self, how: How, look: &Arc<Look>) {
        match how {
            How::Watched(descriptor) => {
                // The kernel gives its number to no other watch. It has ended by itself where the folder was removed.
                self.lock().watched.remove(&descriptor);
                if let Some(inotify) = &self.0.inotify {
                    let _ = inotify::remove_watch(inotify.get_ref(), descriptor);
                }
            }
            How::Hot => {
                self.lock().hot.retain(|hot| !Arc::ptr_eq(hot, look));
                self.0.hot.fetch_sub(1, Ordering::Relaxed);
            }
            How::Unwatched => {
                let mut state = self.lock();
                state
                    .unwatched
                    .retain(|other| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(look)));
            }
        }
    }
}

impl Watch {
    /// To be woken when there may be something to see. To be called before a look: what comes after it is told then.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.look.waker.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// What has happened to the names since this was asked last.
    pub fn names(&self) -> Names {
        match self.how {
            How::Watched(_) => {
                if self.look.renamed.swap(false, Ordering::Relaxed) {
                    Names::Changed
                } else {
                    Names::Same
                }
            }
            How::Hot | How::Unwatched => Names::Unknown,
        }
    }

    /// How many files were begun with the log's name since this was asked last; `None` where nobody knows.
    pub fn begun(&self) -> Option<u32> {
        let begun = self.look.begun.swap(0, Ordering::Relaxed);
        (begun < UNKNOWN && matches!(self.how, How::Watched(_))).then_some(begun)
    }

    /// Takes notice of what is in the queue now.
    pub fn drain(&self) {
        self.watcher.drain();
    }

    pub fn is_hot(&self) -> bool {
        self.how == How::Hot
    }

    /// Whether the kernel has refused a watch.
    pub fn is_unwatched(&self) -> bool {
        self.how == How::Unwatched
    }

    /// Looks after each rest of the thread from now on.
    pub fn heat(&mut self) {
        if !self.is_hot() {
            self.watcher.end(self.how, &self.look);
            self.watcher.lock().hot.push(Arc::clone(&self.look));
            self.watcher.0.hot.fetch_add(1, Ordering::Relaxed);
            self.how = How::Hot;
        }
    }

    /// Watches the folder again. What has happened since the last look nobody tells: it is to be looked at once more.
    pub fn cool(&mut self, folder: &Path) {
        if self.is_hot() {
            self.watcher.end(self.how, &self.look);
            self.how = self.watcher.begin(folder, &self.look);
            self.look.begun.store(UNKNOWN, Ordering::Relaxed);
            self.look.renamed.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher.end(self.how, &self.look);
    }
}

#[expect(unsafe_code, reason = "tokio cannot know that an `OwnedFd` owns its descriptor")]
fn registered(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is the only owner of its descriptor, and open for as long as it lives.
    Ok(unsafe { AsyncFd::register(fd) }?)
}
