//! The kernel half.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::place::Problems;
use super::values::{switch, word};

/// The kernel half.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kernel {
    /// What to do if the kernel refuses it.
    #[serde(deserialize_with = "word")]
    pub mode: KernelMode,
    /// How it is attached.
    pub tier: KernelTier,
    /// Connections that the kernel's map has room for.
    pub max_connections: u32,
    /// Carry the kernel side's debug messages into the log.
    #[serde(deserialize_with = "switch")]
    pub debug: bool,
    /// When a connection is called leaked.
    pub leaks: Leaks,
    /// End a leaked connection by `shutdown(2)`.
    #[serde(deserialize_with = "switch")]
    pub heal: bool,
}

/// Whether there is a kernel half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelMode {
    /// Run without it where it is refused, and say why.
    Auto,
    /// Exit with the reason where it is refused.
    Required,
    /// Do not try.
    Off,
}

/// How the kernel part is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelTier {
    /// The best that the kernel takes.
    Auto,
    /// To kernel functions.
    Fentry,
    /// To the tracepoints of system calls.
    Tracepoint,
}

/// When a connection is called leaked, and what is done about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Leaks {
    /// From one look for leaks to the next.
    #[serde(with = "humantime_serde")]
    pub scan_interval: Duration,
    /// For one that no part of the agent owns.
    #[serde(with = "humantime_serde")]
    pub orphan_after: Duration,
    /// For one of which the peer has ended.
    #[serde(with = "humantime_serde")]
    pub half_closed_after: Duration,
}

impl Kernel {
    /// Tells what is wrong with its own keys and those of its sections.
    pub fn check(&self, problems: &mut Problems) {
        problems.range(self.max_connections, 64..=1 << 20, "max_connections");
        problems.section("leaks", |problems| self.leaks.check(problems));
    }
}

impl Leaks {
    fn check(&self, problems: &mut Problems) {
        problems.duration(self.scan_interval, "scan_interval");
        problems.duration(self.orphan_after, "orphan_after");
        problems.duration(self.half_closed_after, "half_closed_after");
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self {
            mode: KernelMode::Auto,
            tier: KernelTier::Auto,
            max_connections: 4096,
            debug: false,
            leaks: Leaks::default(),
            heal: false,
        }
    }
}

impl Default for Leaks {
    fn default() -> Self {
        Self {
            scan_interval: Duration::from_secs(10),
            orphan_after: Duration::from_secs(10),
            half_closed_after: Duration::from_secs(30),
        }
    }
}
