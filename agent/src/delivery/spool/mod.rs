//! What a sink has not taken in time waits on the disk, so that reading and the other sinks go on.
//!
//! While a sink keeps up its batches stay in memory and nothing is written. When it falls behind, the batches of its window
//! go to its spool, and count as safe: the saved positions move on. The spool is delivered first, and what comes meanwhile
//! goes behind it, until it is empty.
//!
//! | file | what is in it |
//! |---|---|
//! | `supply` | the end of whoever delivers: batches, from the spool or from memory |
//! | `keeper` | the task beside it, which moves batches to the spool |
//! | `backlog` | what the two share |
//! | `options` | how much is kept, and when a sink has fallen behind |
//! | `queue` | the spool: segments and a cursor |
//! | `segment`, `frame`, `cursor`, `folder` | its files |

mod backlog;
mod cursor;
mod folder;
mod frame;
mod keeper;
mod options;
mod queue;
mod segment;
mod supply;
#[cfg(test)]
mod tests;

pub use backlog::Before;
pub use keeper::Keeper;
pub use options::Options;
pub use supply::Supply;

use super::intake::Intake;
use super::metrics::Metrics;
use crate::readiness::Readiness;

/// The two ends of a sink's batches: for whoever delivers them, and for who keeps what waits. Without `options` nothing is kept.
pub fn supply(
    intake: Intake,
    before: Before,
    options: Option<&Options>,
    metrics: &Metrics,
    readiness: &Readiness,
) -> std::io::Result<(Supply, Keeper)> {
    let Some(options) = options else {
        return Ok((Supply::new(intake, None), Keeper::none()));
    };
    let part = readiness.part(&format!("spool {}", intake.name()));
    let backlog = backlog::Backlog::open(&intake, before, options, metrics, part)?;
    Ok((Supply::new(intake, Some(backlog.clone())), Keeper::new(backlog)))
}
