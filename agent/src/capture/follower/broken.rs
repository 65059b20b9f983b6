//! A record that the engine cannot decode. It sends what is before it, and ends with an error: what is behind it comes only
//! to who asks for less of the log's end.

use std::time::Duration;

use tokio::time::timeout;
use tracing::{debug, warn};

use super::Follower;
use crate::record::{Line, Since, Time, Until};
use crate::register::Site;
use crate::source::{Cause, Fault, Log as _, Progress};

/// Records among which it is looked for.
const MOST: u32 = 1 << 20;
/// How long one question may take.
const ANSWER: Duration = Duration::from_secs(5);

impl Follower {
    /// Finds out how many of the last records the engine can decode, and asks for no more from now on.
    pub(super) async fn ask_for_what_can_be_decoded(&mut self) -> Result<(), Fault> {
        let most = self.captured.records().unwrap_or(MOST);
        let (mut good, mut bad) = (0, 1);
        while bad < most && self.can_be_decoded(bad).await? {
            (good, bad) = (bad, (bad * 2).min(most));
        }
        // The log can grow meanwhile: then the record is only farther from its end.
        while bad - good > 1 {
            let middle = good + (bad - good) / 2;
            if self.can_be_decoded(middle).await? {
                good = middle;
            } else {
                bad = middle;
            }
        }
        debug!(
            container = self.container.name,
            records = good,
            "so many can be decoded"
        );
        if good > 0 {
            warn!(
                container = self.container.name,
                "the engine cannot decode a record of its log: read on behind it"
            );
            self.captured.ask_for_no_more_than(good);
        }
        Ok(())
    }

    /// Whether the engine sends the last records up to the log's end.
    async fn can_be_decoded(&mut self, records: u32) -> Result<bool, Fault> {
        let since = Since::Tail {
            records,
            or_since: Time(0),
        };
        let source = &self.services.source;
        let reading = async {
            let mut log = source.open(&self.container.id, Site::Follow, since, Until::Now).await?;
            let mut lines = 0_u32;
            loop {
                let mut take = |_: Line<'_>| lines += 1;
                let room = |_: &mut std::task::Context<'_>| std::task::Poll::Ready(usize::MAX);
                match log.read(room, &mut take).await {
                    Ok(Progress::Read(_)) => {}
                    Ok(Progress::Ended) => return Ok(lines > 0),
                    Err(fault) if fault.error_type() == "engine_error" => return Ok(false),
                    Err(fault) => return Err(fault),
                }
            }
        };
        match timeout(ANSWER, reading).await {
            Ok(result) => result,
            Err(_) => {
                let text = format!("no answer in {ANSWER:?}");
                Err(Fault::Broken(Cause::new(text, "read_failed")))
            }
        }
    }
}
