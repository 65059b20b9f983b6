//! What is made of the kernel's ledger and the agent's register: leaks, growth, and the law that both are held to.
//!
//! | file | what is in it |
//! |---|---|
//! | `watch` | scans at intervals, tells, counts, and heals where that is asked for |
//! | `leaks` | which connections are leaked, and why |
//! | `growth` | kinds of descriptors that only ever grow |
//! | `conservation` | preexisting + opened − closed = what the witnesses count |
//! | `doubt` | what the kernel did not tell, and what was put right |
//! | `room` | whether the kernel half's maps have room |
//! | `mark` | which call opened a connection, and for which container |

mod conservation;
mod doubt;
mod growth;
mod leaks;
mod mark;
mod metrics;
mod room;
mod watch;

pub use conservation::conserve;
pub use doubt::Interval;
pub use growth::Growing;
pub use leaks::{Detector, Leak, Patience, Reason};
pub use mark::opening;
pub use metrics::{DriftMetrics, LeakMetrics};
pub use watch::{Account, Found, Leaks, WatchOptions, watch};
