//! Short forms of tests for every day, and long ones by variables:
//!
//! | `LOG_CAPTURER_…` | what there is more of |
//! |---|---|
//! | `ROTATION_SECONDS` | seconds under rotation |
//! | `FLAT_OUT_LINES` | lines that are written as fast as the engine takes them |
//! | `SWITCHES` | switches between files and API |
//! | `FILE_ROTATION_SECONDS` | seconds under the engine's own rotation of log files |
//! | `KILLS` | ends of the agent by SIGKILL |
//! | `STOPPED_SECONDS` | seconds for which the engine stands still |
//! | `SHORT_LIVED` | containers that live a moment |
//! | `RESTARTS` | restarts of one container |
//! | `CUT_SECONDS` | seconds behind a proxy that cuts connections |
//! | `RATE_SECONDS` | seconds under rotation and 10,000 lines a second |
//! | `CONTAINERS`, `SLOTS`, `BUSY_SECONDS` | busy containers, slots for them, and for how long |
//! | `DEAF_SECONDS` | seconds for which nobody reads a FIFO |
//! | `QUIET_SECONDS` | seconds without a false alarm about leaks |
//! | `FAULT_SECONDS` | seconds of each fault of an engine, with the default settings |
//! | `SOAK_SECONDS` | seconds under churn of containers and faults; twenty minutes make slopes that are judged |
//! | `CROWD` | streams that come back together |

/// What `LOG_CAPTURER_<NAME>` says, else the short form.
pub fn size(name: &str, short: u32) -> u32 {
    match std::env::var(format!("LOG_CAPTURER_{name}")) {
        Ok(asked) => asked
            .parse()
            .unwrap_or_else(|error| panic!("LOG_CAPTURER_{name}={asked}: {error}")),
        Err(_) => short,
    }
}
