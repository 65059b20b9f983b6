//! Positions that outlive the agent.
//!
//! A position is saved only when every sink has acknowledged the lines up to it. What a file
//! got after the last checkpoint, it still has when the agent was killed: so the checkpoint
//! also keeps how long each file was, and the next start reads on from there, in the file
//! itself, before it asks the engine. Nothing is lost, and in a file that is the only sink nothing is doubled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::positions::Positions;
use super::resume::Position;
use crate::delivery::Outbox;
use crate::delivery::sink::{File, FileEnd};
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
    files: Vec<FileEnd>,
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
        let Some(((saved, containers), files)) = outbox.barrier(seen).await else {
            positions.touch();
            return Err(std::io::Error::other("a sink has failed"));
        };
        let checkpoint = Checkpoint {
            saved: Some(saved),
            files,
            containers,
        };
        let state = Arc::clone(&self.0);
        // It waits for the disk. First the lines and then the position behind them: a power loss takes the latter alone.
        let save = move || {
            let began = Instant::now();
            checkpoint.files.iter().try_for_each(FileEnd::sync)?;
            state.save(&checkpoint)?;
            Ok(began.elapsed())
        };
        let saved = tokio::task::spawn_blocking(save).await;
        let saved = saved.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        saved.inspect_err(|_| positions.touch())
    }
}

impl Checkpoint {
    /// The positions, moved on by what the file has got since. Only where that file is all that lines go to: with more
    /// sinks, another one may not have got as far, and has the first claim.
    pub fn recover(self, files: &mut [File], only_sink: bool) -> std::io::Result<Positions> {
        let positions = Positions::new(self.containers);
        for file in files {
            let from = self.files.iter().find(|end| only_sink && file.is(end));
            let mut records = 0_u64;
            file.recover(from, |record| {
                records += 1;
                if let Some(record) = Decoded::from_json(record) {
                    positions.recovered(&record);
                }
            })?;
            if records > 0 {
                info!(file = %file.path().display(), records, "continued from what the file has beyond the last checkpoint");
            }
        }
        Ok(positions)
    }
}
