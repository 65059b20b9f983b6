//! What the kernel holds open for this process, and in which state: the truth that the agent's belief is held against.
//!
//! Reading order: [`loader`] (what it needs: [`layout`] with [`btf`], [`namespace`]), then [`ledger`]. Nothing here knows whom
//! the connections are for.

mod btf;
mod layout;
mod leaks;
mod ledger;
mod loader;
mod log;
mod mapped;
mod metrics;
mod namespace;
mod refusal;
mod snapshot;
mod watch;

use std::sync::Mutex;

use aya::{Ebpf, programs::RawTracePoint};
use aya_log::EbpfLogger;
use rustix::process::{Resource, getrlimit};

pub use self::{
    leaks::{Detector, Leak, Patience, Reason},
    metrics::{LeakMetrics, Metrics},
    refusal::{Refusal, RefusalKind},
    snapshot::{Connection, MapUsage, PeerTotals, Snapshot, State},
    watch::{Leaks, WatchOptions, watch},
};
use self::{
    ledger::Ledger,
    loader::{Links, Settings},
    log::IntoTracing,
};

#[derive(Clone, Debug)]
pub struct Options {
    /// How many connections the ledger has room for.
    pub connections: u32,
    /// The programs report what they see, see [`Kernel::forward_log`].
    pub debug: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connections: 4096,
            debug: false,
        }
    }
}

/// How the kernel is watched, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    Fentry,
    Tracepoint,
    None,
}

/// The attached programs. They are detached when this is dropped.
pub struct Kernel {
    /// Before the programs, as fields are dropped in this order.
    _links: Links,
    /// Owns the programs; `survey` is run through it, one at a time.
    ebpf: Mutex<Ebpf>,
    ledger: Ledger,
    messages: Mutex<EbpfLogger<IntoTracing>>,
}

/// Descriptors above this are not watched, however many the process may have.
const MOST_DESCRIPTORS: u64 = 1 << 16;
const FEWEST_DESCRIPTORS: u64 = 1 << 10;

impl Kernel {
    /// Watches this process from now on. Called before the first connection: what is open already is not seen.
    pub fn attach(options: &Options) -> Result<Self, Refusal> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS);
        let settings = Settings {
            connections: options.connections,
            descriptors: limit.clamp(FEWEST_DESCRIPTORS, MOST_DESCRIPTORS) as u32,
            debug: options.debug,
        };
        let (mut ebpf, links) = loader::load(&settings)?;
        let ledger = Ledger::take(&mut ebpf, &settings)?;
        let messages = EbpfLogger::init_with_logger(&mut ebpf, IntoTracing)
            .map_err(|error| Refusal::new("open the programs' log", &error))?;
        Ok(Self {
            _links: links,
            ebpf: Mutex::new(ebpf),
            ledger,
            messages: Mutex::new(messages),
        })
    }

    pub fn tier(&self) -> Tier {
        Tier::Tracepoint
    }

    /// Whether the process has a descriptor of this connection.
    pub fn holds(&self, inode: u64) -> Result<bool, Refusal> {
        self.ledger.holds(inode)
    }

    pub fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let ebpf = self.ebpf.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let survey: &RawTracePoint = ebpf
            .program("survey")
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| Refusal::foreign_object("survey"))?;
        self.ledger.snapshot(survey)
    }

    /// Passes on what the programs reported since the last time, to `tracing`, target `log_capturer::kernel::bpf`.
    /// Never waits.
    pub fn forward_log(&self) {
        self.messages
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .flush();
    }
}
