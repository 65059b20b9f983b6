//! What the kernel holds open for this process, and in which state: the truth that the agent's belief is held against.
//!
//! Reading order: [`loader`] (the tiers: [`functions`], [`tracepoints`]; what they load: [`object`]; what they need to
//! know: [`layout`] with [`btf`], [`namespace`]), then [`ledger`] for connections and [`descriptors`] for everything that is
//! open. What is, is taken from a [`walk`]; [`misses`] and [`trial`] tell how far the rest can be trusted. Nothing here
//! knows whom the connections are for.

mod btf;
mod calls;
mod descriptors;
mod functions;
mod layout;
mod ledger;
mod links;
mod load;
mod loader;
mod log;
mod mapped;
mod mark;
mod metrics;
mod misses;
mod namespace;
mod object;
mod refusal;
mod samples;
mod snapshot;
mod tier;
mod tracepoints;
mod trial;
mod walk;
mod witness;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use rustix::process::{Resource, getrlimit};

use self::{
    calls::Calls,
    descriptors::Descriptors,
    ledger::Ledger,
    links::Links,
    loader::Loaded,
    log::IntoTracing,
    mark::Marks,
    object::{Settings, ask, raw_tracepoint},
    trial::Trial,
    walk::Walk,
};
pub use self::{
    metrics::Metrics,
    refusal::{Refusal, RefusalKind},
    snapshot::{
        Cause, Comparison, Connection, Drift, Kind, KindTotals, MapUsage, Mark, Missed, PeerTotals, Snapshot, State,
        Witness,
    },
    tier::Tier,
};
use crate::config::{self, KernelTier};

/// How the kernel part is attached: `kernel` in the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The only tier to try; the best that the kernel takes, if none is named.
    pub tier: Option<Tier>,
    /// How many connections the ledger has room for.
    pub connections: u32,
    /// The programs report what they see, see [`Kernel::forward_log`].
    pub debug: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tier: None,
            connections: 4096,
            debug: false,
        }
    }
}

impl From<&config::Kernel> for Options {
    fn from(kernel: &config::Kernel) -> Self {
        Self {
            tier: match kernel.tier {
                KernelTier::Auto => None,
                KernelTier::Fentry => Some(Tier::Fentry),
                KernelTier::Tracepoint => Some(Tier::Tracepoint),
            },
            connections: kernel.max_connections,
            debug: kernel.debug,
        }
    }
}

/// The attached programs. They are detached when this is dropped.
pub struct Kernel {
    tier: Tier,
    refused: Option<Refusal>,
    trial: Trial,
    /// Before the programs, as fields are dropped in this order.
    _links: Links,
    /// Owns the programs; `survey` is run through it, one at a time.
    ebpf: Mutex<Ebpf>,
    ledger: Ledger,
    descriptors: Descriptors,
    walk: Walk,
    calls: Calls,
    marks: Marks,
    messages: Mutex<EbpfLogger<IntoTracing>>,
}

/// Descriptors above this are not watched, however many the process may have.
const MOST_DESCRIPTORS: u64 = 1 << 16;
const FEWEST_DESCRIPTORS: u64 = 1 << 10;

impl Kernel {
    /// Watches this process from now on. What is open already is taken in; its age counts from now.
    pub fn attach(options: &Options) -> Result<Self, Refusal> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST_DESCRIPTORS);
        let settings = Settings {
            tier: options.tier,
            connections: options.connections,
            descriptors: limit.clamp(FEWEST_DESCRIPTORS, MOST_DESCRIPTORS) as u32,
            debug: options.debug,
        };
        let Loaded {
            mut ebpf,
            links,
            tier,
            trial,
            refused,
        } = loader::load(&settings)?;
        let ledger = Ledger::take(&mut ebpf, &settings)?;
        let totals = ledger::mapped(&mut ebpf, "KIND_TOTALS", abi::KINDS)?;
        samples::calibrate(raw_tracepoint(&ebpf, "calibrate")?)?;
        let descriptors = Descriptors::begin(totals, raw_tracepoint(&ebpf, "adopt")?, settings.descriptors)?;
        let walk = Walk::new(ledger::mapped(&mut ebpf, "WALK", 1)?);
        let calls = Calls::take(&mut ebpf)?;
        let marks = Marks::new(ledger::writable(&mut ebpf, "MARKER", 1)?);
        let messages = EbpfLogger::init_with_logger(&mut ebpf, IntoTracing)
            .map_err(|error| Refusal::new("open the programs' log", &error))?;
        Ok(Self {
            tier,
            refused,
            trial,
            _links: links,
            ebpf: Mutex::new(ebpf),
            ledger,
            descriptors,
            walk,
            calls,
            marks,
            messages: Mutex::new(messages),
        })
    }

    /// How the kernel is watched.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Why it is not a better tier.
    pub fn refused(&self) -> Option<&Refusal> {
        self.refused.as_ref()
    }

    /// Whether the process has a descriptor of this socket. The process's table says so, not the ledger.
    pub fn holds(&self, inode: u64) -> Result<bool, Refusal> {
        self.walk.finds(&self.programs(), inode)
    }

    /// What is, by a walk through the process's table, and what was. Where the ledger is wrong, it is put right first.
    pub fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let ebpf = self.programs();
        self.walk.reconcile(&ebpf, &self.ledger, &self.calls)?;
        let mut snapshot = self.ledger.snapshot(raw_tracepoint(&ebpf, "survey")?)?;
        snapshot.fds = self.descriptors.totals();
        snapshot.missed = misses::read(&ebpf);
        Ok(snapshot)
    }

    /// At each scan: puts the ledger right, and tells where its witnesses still count otherwise. `None` where other threads left
    /// no quiet moment to compare them in.
    pub fn drift(&self) -> Result<Option<Vec<Drift>>, Refusal> {
        let ebpf = self.programs();
        self.calls.scan(&ebpf)?;
        self.walk.reconcile(&ebpf, &self.ledger, &self.calls)?;
        let comparison = self.descriptors.compare(&self.walk, &ebpf)?;
        Ok(comparison.map(|comparison| comparison.drifts))
    }

    /// The programs that the kernel does not run any more: tried by operations of the agent's own, which are counted as any other.
    pub fn quiet_hooks(&self) -> Result<Vec<&'static str>, Refusal> {
        self.trial.quiet()
    }

    /// The ledger of descriptors beside what its witnesses count; nothing is repaired. `None` as above.
    pub fn compare(&self) -> Result<Option<Comparison>, Refusal> {
        self.descriptors.compare(&self.walk, &self.programs())
    }

    /// Runs `connect` on this thread, and notes the mark with the connections that it opens. If the mark cannot be set, `connect`
    /// has not been run.
    pub fn marked<T>(&self, mark: Mark, connect: impl FnOnce() -> T) -> Result<T, Refusal> {
        let whoami = || ask(raw_tracepoint(&self.programs(), "whoami")?, 0);
        self.marks.around(mark, whoami, connect)
    }

    fn programs(&self) -> MutexGuard<'_, Ebpf> {
        self.ebpf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes on what the programs reported since the last time, to `tracing`, target `log_capturer::kernel::bpf`.
    /// Never waits.
    pub fn forward_log(&self) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).flush();
    }
}
