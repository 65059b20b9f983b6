//! Positions that outlive the agent.
//!
//! A position is saved only when every sink has acknowledged the lines up to it. What a file
//! got after the last checkpoint, it still has when the agent was killed: so the checkpoint
//! also keeps each sink's mark, and the next start reads on from there, in the file
//! itself, before it asks the engine. Nothing is lost, and in a file that is the only sink nothing is doubled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::positions::Positions;
use super::resume::Position;
use crate::delivery::Outbox;
use crate::delivery::sink::Named;
use crate::encode::Decoded;
use crate::record::{ContainerId, Time};
use crate::state::{StateDir, StateError};

/// How often positions are saved, while they move.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many times longer than it takes to save them the next save stays away: with ten thousand containers they are some
/// 20 MB.
const REST: u32 = 20;
/// But no longer than this.
const LONGEST: Duration = Duration::from_secs(30);

/// What is saved.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When it was saved. What was created later was never seen.
    pub saved: Option<Time>,
    /// Each sink's mark, by its name.
    #[serde(default)]
    sinks: BTreeMap<String, Value>,
    containers: HashMap<ContainerId, Arc<Position>>,
}

/// Loads and saves checkpoints.
#[derive(Clone, Debug)]
pub struct Checkpoints(Arc<StateDir>);

impl Checkpoints {
    /// Checkpoints are kept in this folder.
    pub fn new(state: StateDir) -> Self {
        Self(Arc::new(state))
    }

    /// The last checkpoint, or an empty one.
    pub fn load(&self) -> Result<Checkpoint, StateError> {
        Ok(self.0.load()?.unwrap_or_default())
    }

    /// Saves at intervals, for as long as it is polled.
    pub async fn save_at_intervals(self, outbox: Outbox, positions: Positions) {
        let mut failing = false;
        let mut pause = INTERVAL;
        loop {
            sleep(pause).await;
            if !positions.have_changed() {
                continue;
            }
            match self.save(&outbox, &positions).await {
                Ok(took) => {
                    pause = (took * REST).clamp(INTERVAL, LONGEST);
                    if std::mem::take(&mut failing) {
                        info!("positions are saved again");
                    }
                }
                Err(error) if failing => debug!(%error, "positions cannot be saved"),
                Err(error) => {
                    failing = true;
                    warn!(%error, "positions cannot be saved: lines can be doubled after a crash");
                }
            }
        }
    }

    /// Waits until every sink has acknowledged all that was captured so far, and saves that. Tells how long the disk took.
    pub async fn save(&self, outbox: &Outbox, positions: &Positions) -> std::io::Result<Duration> {
        let seen = || (Time::now(), positions.take());
        let Some(((saved, containers), marks)) = outbox.barrier(seen).await else {
            positions.touch();
            return Err(std::io::Error::other("a sink has failed"));
        };
        let written: Vec<_> = marks.iter().filter_map(|(_, mark)| mark.written.clone()).collect();
        let checkpoint = Checkpoint {
            saved: Some(saved),
            sinks: marks.into_iter().map(|(sink, mark)| (sink, mark.saved)).collect(),
            containers,
        };
        let state = Arc::clone(&self.0);
        // It waits for the disk. First the lines and then the position behind them: a power loss takes the latter alone.
        let save = move || {
            let began = Instant::now();
            written.iter().try_for_each(|written| written.sync())?;
            state.save(&checkpoint)?;
            Ok(began.elapsed())
        };
        let saved = tokio::task::spawn_blocking(save).await;
        let saved = saved.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        saved.inspect_err(|_| positions.touch())
    }
}

impl Checkpoint {
    /// The positions, moved on by what the only sink has got since. With more sinks, another one may not have got as far, and
    /// has the first claim.
    pub fn recover(self, sinks: &mut [Named]) -> std::io::Result<Positions> {
        let positions = Positions::new(self.containers);
        let is_only = sinks.len() == 1;
        for Named { name, sink } in sinks {
            let from = self.sinks.get(name).filter(|_| is_only);
            sink.recover(from, &mut |record| {
                if let Some(record) = Decoded::from_json(record) {
                    positions.recovered(&record);
                }
            })?;
        }
        Ok(positions)
    }
}
