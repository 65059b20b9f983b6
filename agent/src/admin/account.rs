//! `/account`: what was read of each container, and what has become of it at each sink.

use serde::{Deserialize, Serialize};

/// The answer to `/account`, which `log-capturer account` reads. All numbers but those of gaps and drifts are lines.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AccountPage {
    /// Each line that was read is in one place at every sink.
    pub adds_up: bool,
    /// Places at which lines may be missing, in the containers below.
    pub gaps: u64,
    /// Whether each sink's account says what its window and its spool say.
    pub sinks: Vec<SinkRow>,
    /// Each container of which something was read.
    pub containers: Vec<ContainerRow>,
}

/// One sink.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SinkRow {
    /// Its name.
    pub sink: String,
    /// The metric `delivery_drift`, in records: 0 is right.
    pub drift: i64,
    /// Whether all that waits for it is somebody's line.
    pub is_right: bool,
}

/// One container.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ContainerRow {
    /// Its name; absent if it is not known.
    pub container: Option<String>,
    /// Its id; absent for those that were removed long ago, which are one row.
    pub id: Option<String>,
    /// Whether it is removed.
    pub removed: bool,
    /// Lines that came from its log.
    pub read: u64,
    /// Lines that came again, and were known.
    pub deduplicated: u64,
    /// Lines that wait for the rest of their record of several lines. They are in `waiting` of every sink.
    pub held: u64,
    /// Places at which lines may be missing.
    pub gaps: u64,
    /// When the last of them was found, in seconds since 1970.
    pub last_gap: Option<f64>,
    /// What has become of the lines at each sink.
    pub sinks: Vec<Places>,
}

/// What has become of a container's lines at one sink:
/// read + earlier = delivered + deduplicated + dropped + dead + spooled + waiting + before.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Places {
    /// The sink's name.
    pub sink: String,
    /// The sink has acknowledged them.
    pub delivered: u64,
    /// They are lost, or were dropped before any sink.
    pub dropped: u64,
    /// They were kept as dead letters.
    pub dead: u64,
    /// They are in the sink's spool.
    pub spooled: u64,
    /// They wait in memory.
    pub waiting: i64,
    /// They were read before the sink was configured.
    pub before: u64,
    /// The sink has them from before the agent was killed, and they have not come from the log again.
    pub earlier: u64,
    /// What is missing on the right side: 0 is right.
    pub difference: i64,
}

impl AccountPage {
    /// Made of what the parts tell.
    pub fn new(sinks: Vec<SinkRow>, containers: Vec<ContainerRow>) -> Self {
        let is_right = |sink: &SinkRow| sink.drift == 0 && sink.is_right;
        let has_all = |row: &ContainerRow| row.sinks.iter().all(|places| places.difference == 0);
        Self {
            adds_up: sinks.iter().all(is_right) && containers.iter().all(has_all),
            gaps: containers.iter().map(|row| row.gaps).sum(),
            sinks,
            containers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(difference: i64, gaps: u64) -> ContainerRow {
        ContainerRow {
            gaps,
            sinks: vec![Places {
                difference,
                ..Places::default()
            }],
            ..ContainerRow::default()
        }
    }

    #[test]
    fn it_adds_up_where_every_container_and_every_sink_does() {
        let sink = |drift, is_right| SinkRow {
            drift,
            is_right,
            ..SinkRow::default()
        };
        let page = |sink, row| AccountPage::new(vec![sink], vec![row]);
        assert!(page(sink(0, true), row(0, 0)).adds_up);
        assert!(!page(sink(1, true), row(0, 0)).adds_up);
        assert!(!page(sink(0, false), row(0, 0)).adds_up);
        assert!(!page(sink(0, true), row(-1, 0)).adds_up);
        let with_gap = page(sink(0, true), row(0, 2));
        assert!(with_gap.adds_up && with_gap.gaps == 2);
    }
}
