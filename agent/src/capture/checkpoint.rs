//! Positions that outlive the agent.
//!
//! A position is saved only when every sink has acknowledged the lines up to it, or has them in its spool. What a file
//! got after the last checkpoint, it still has when the agent was killed: so the checkpoint
//! also keeps each sink's mark, and the next start reads on from there, in the file
//! itself, before it asks the engine. Nothing is lost, and in a file nothing is doubled: where other sinks need the lines
//! once more, the file leaves out what it has.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::gone::Gone;
use super::metrics::CheckpointMetrics;
use super::positions::Positions;
use super::resume::Position;
use crate::delivery::{Account, Had, Kind, Named, Outbox, Saved};
use crate::encode::Decoded;
use crate::readiness::Part;
use crate::record::{ContainerId, Time};
use crate::state::{StateDir, StateError};

/// How often positions are saved, while they move.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many times longer than it takes to save them the next save stays away: with ten thousand containers they are some
/// 20 MB.
const REST: u32 = 20;
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(30);

/// A container that has no position, and wrote nothing for so long, is gone.
const RECENT: Duration = Duration::from_secs(86_400);

/// What is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When it was saved. What was created later was never seen.
    pub saved: Option<Time>,
    /// Each sink's mark, by its name.
    #[serde(default)]
    sinks: BTreeMap<String, Value>,
    /// What a sink has behind the positions, by its name, where that is something.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    had: BTreeMap<String, Value>,
    containers: HashMap<ContainerId, Arc<Position>>,
    /// What was read of containers that are removed.
    #[serde(default)]
    gone: Gone,
    /// What has become of the lines up to the positions at each sink, by its name.
    #[serde(default)]
    accounts: BTreeMap<String, Account>,
}

/// Loads and saves checkpoints, and shows whether that works.
#[derive(Clone)]
pub struct Checkpoints(Arc<Inner>);

struct Inner {
    state: StateDir,
    part: Part,
    metrics: CheckpointMetrics,
    /// The last save has failed.
    failing: AtomicBool,
}

impl Checkpoints {
    /// Checkpoints are kept in this folder. `part` is ready while they can be.
    pub fn new(state: StateDir, part: Part, metrics: CheckpointMetrics) -> Self {
        Self(Arc::new(Inner {
            state,
            part,
            metrics,
            failing: AtomicBool::new(false),
        }))
    }

    /// The last checkpoint, or an empty one.
    pub fn load(&self) -> Result<Checkpoint, StateError> {
        Ok(self.0.state.load()?.unwrap_or_default())
    }

    /// Saves at intervals, for as long as it is polled. What failed is tried again.
    pub async fn save_at_intervals(self, outbox: Outbox, positions: Positions) {
        let (mut pause, mut settled) = (INTERVAL, 0);
        loop {
            sleep(pause).await;
            // A spool is delivered also while no position moves.
            if (positions.have_changed() || outbox.settled() != settled)
                && let Ok(took) = self.save(&outbox, &positions).await
            {
                pause = (took * REST).clamp(INTERVAL, LONGEST);
                settled = outbox.settled();
            }
        }
    }

    /// Waits until every sink has acknowledged all that was captured so far, and saves that. Tells how long the disk took.
    pub async fn save(&self, outbox: &Outbox, positions: &Positions) -> io::Result<Duration> {
        let saved = self.try_save(outbox, positions).await;
        match &saved {
            Ok(_) => self.0.succeeded(),
            Err(error) => {
                positions.touch();
                self.0.failed(error);
            }
        }
        saved
    }

    async fn try_save(&self, outbox: &Outbox, positions: &Positions) -> io::Result<Duration> {
        let seen = || (Time::now(), positions.take());
        let Some(((saved, (containers, gone)), sinks_say)) = outbox.barrier(seen).await else {
            return Err(io::Error::other("a sink has failed"));
        };
        let mut written = Vec::new();
        let (mut sinks, mut had, mut accounts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for Saved { sink, mark, account } in sinks_say {
            accounts.insert(sink.clone(), account);
            let Some(mark) = mark else { continue };
            if !mark.had.is_null() {
                had.insert(sink.clone(), mark.had);
            }
            written.extend(mark.written.map(|written| (sink.clone(), written)));
            sinks.insert(sink, mark.saved);
        }
        let checkpoint = Checkpoint {
            saved: Some(saved),
            sinks,
            had,
            containers,
            gone,
            accounts,
        };
        let this = self.clone();
        // It waits for the disk. First the lines and then the position behind them: a power loss takes the latter alone.
        let save = move || {
            let began = Instant::now();
            for (sink, written) in &written {
                written.sync().inspect_err(|_| this.distrust(sink))?;
            }
            this.0.state.save(&checkpoint)?;
            Ok(began.elapsed())
        };
        let saved = tokio::task::spawn_blocking(save).await;
        saved.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    /// A sink may have lost what it got behind its last mark. The next start must not take that for delivered: the mark goes,
    /// and the lines are delivered again.
    pub fn distrust(&self, sink: &str) {
        let forget = || {
            let mut checkpoint = self.load().map_err(io::Error::other)?;
            checkpoint.had.remove(sink);
            match checkpoint.sinks.remove(sink) {
                Some(_) => self.0.state.save(&checkpoint),
                None => Ok(()),
            }
        };
        if let Err(error) = forget() {
            error!(sink, %error, "lines that this sink has lost may be taken for delivered at the next start");
        }
    }
}

impl Inner {
    fn succeeded(&self) {
        self.metrics.saved_at.set(Time::now().as_seconds());
        self.part.up("positions are saved");
        if self.failing.swap(false, Ordering::Relaxed) {
            info!("positions are saved again");
        }
    }

    fn failed(&self, error: &io::Error) {
        self.metrics.failures.inc();
        self.part.down(&format!("positions cannot be saved: {error}"));
        if self.failing.swap(true, Ordering::Relaxed) {
            debug!(%error, "positions cannot be saved");
        } else {
            warn!(%error, "positions cannot be saved: lines can be doubled at the next start");
        }
    }
}

impl Checkpoint {
    /// The positions, moved on by what the only sink has got since. With more sinks, another one may not have got as far. Then
    /// it is read again for the others, and the sink leaves it out.
    pub fn recover(mut self, sinks: &mut [Named]) -> io::Result<Positions> {
        let is_only = sinks.len() == 1;
        let had = |name| Had::deserialize(self.had.get(name)?).ok();
        let mut hads: Vec<Had> = sinks.iter().map(|sink| had(&sink.name).unwrap_or_default()).collect();
        let recent = Time::now().before(RECENT);
        for had in &mut hads {
            // What is gone does not come again. A container without a position may only be new.
            had.retain(|container, latest| latest > recent || self.containers.contains_key(container));
        }
        let positions = Positions::new(self.containers, self.gone);
        let (read, gone) = positions.all();
        for (named, before) in sinks.iter_mut().zip(hads) {
            let (name, had, account) = (&named.name, &mut named.had, &mut named.account);
            match self.accounts.remove(name) {
                Some(saved) => *account = saved,
                // The sink is new.
                None => {
                    for (id, tally) in read.iter().chain(gone.listed()) {
                        account.begin(id, tally.handed_on());
                    }
                    account.begin_others(gone.others().handed_on());
                }
            }
            *had = before;
            let Kind::Written(sink) = &mut named.kind else {
                // What a store has got cannot be read back, what its spool has got can.
                named.spooled = self.sinks.get(name).and_then(Value::as_u64);
                continue;
            };
            let moves_on = is_only && had.is_empty();
            sink.recover(
                self.sinks.get(name),
                &mut |recovered| match Decoded::from_json(recovered.text) {
                    Some(record) if moves_on => {
                        positions.recovered(&record, recovered.after_hole);
                        account.recovered(&record.container, u64::from(record.lines.unwrap_or(1)));
                    }
                    Some(record) => had.note(&record),
                    None => {}
                },
            )?;
        }
        Ok(positions)
    }
}

#[cfg(test)]
mod tests;
