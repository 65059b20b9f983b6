//! What the kernel holds open for this process, and in which state: the truth that the agent's belief is held against.
//!
//! Reading order: [`loader`] (the tiers: [`functions`], [`tracepoints`]; what they load: [`object`]; what they need to
//! know: [`layout`] with [`btf`], [`namespace`]), then [`ledger`] for connections and [`descriptors`] for everything that is
//! open. Nothing here knows whom the connections are for.

mod btf;
mod descriptors;
mod functions;
mod layout;
mod ledger;
mod links;
mod loader;
mod log;
mod mapped;
mod mark;
mod metrics;
mod namespace;
mod object;
mod refusal;
mod samples;
mod snapshot;
mod tier;
mod tracepoints;
mod witness;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::Ebpf;
use aya_log::EbpfLogger;
use rustix::process::{Resource, getrlimit};

use self::{
    descriptors::Descriptors,
    ledger::Ledger,
    links::Links,
    loader::Loaded,
    log::IntoTracing,
    mark::Marks,
    object::{Settings, ask, raw_tracepoint},
};
pub use self::{
    metrics::Metrics,
    refusal::{Refusal, RefusalKind},
    snapshot::{Comparison, Connection, Drift, Kind, KindTotals, MapUsage, Mark, PeerTotals, Snapshot, State, Witness},
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
    /// Before the programs, as fields are dropped in this order.
    _links: Links,
    /// Owns the programs; `survey` is run through it, one at a time.
    ebpf: Mutex<Ebpf>,
    ledger: Ledger,
    descriptors: Descriptors,
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
            refused,
        } = loader::load(&settings)?;
        let ledger = Ledger::take(&mut ebpf, &settings)?;
        let totals = ledger::mapped(&mut ebpf, "KIND_TOTALS", abi::KINDS)?;
        samples::teach(raw_tracepoint(&ebpf, "learn")?)?;
        let descriptors = Descriptors::begin(totals, raw_tracepoint(&ebpf, "adopt")?, settings.descriptors)?;
        let marks = Marks::new(ledger::writable(&mut ebpf, "MARKER", 1)?);
        let messages = EbpfLogger::init_with_logger(&mut ebpf, IntoTracing)
            .map_err(|error| Refusal::new("open the programs' log", &error))?;
        Ok(Self {
            tier,
            refused,
            _links: links,
            ebpf: Mutex::new(ebpf),
            ledger,
            descriptors,
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

    /// Whether the process has a descriptor of this connection.
    pub fn holds(&self, inode: u64) -> Result<bool, Refusal> {
        self.ledger.holds(inode)
    }

    /// All that the kernel part knows, as of now. It asks the kernel about each live connection.
    pub fn snapshot(&self) -> Result<Snapshot, Refusal> {
        let ebpf = self.programs();
        let fds = self.descriptors.totals(raw_tracepoint(&ebpf, "census")?)?;
        self.ledger.snapshot(raw_tracepoint(&ebpf, "survey")?, fds)
    }

    /// Where the ledger of descriptors and its witnesses differ; nothing, as long as all is well. `None` where other threads
    /// left no quiet moment to compare them in. A difference that is there twice running is repaired.
    pub fn drift(&self) -> Result<Option<Vec<Drift>>, Refusal> {
        self.descriptors.drift(raw_tracepoint(&self.programs(), "census")?)
    }

    /// The ledger of descriptors beside what its witnesses count; nothing is repaired. `None` as above.
    pub fn compare(&self) -> Result<Option<Comparison>, Refusal> {
        self.descriptors.compare(raw_tracepoint(&self.programs(), "census")?)
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
