//! The runs of a scenario, and what they come to.

use crate::contestant::Contestant;
use crate::measure::Run;
use crate::scenario::{Scenario, When, Work};

/// All runs of one contestant at one piece of work.
pub struct Row {
    pub contestant: Contestant,
    pub work: Work,
    pub runs: Vec<Run>,
}

impl Row {
    pub fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of).collect())
    }

    /// The least and the most.
    pub fn spread(&self, of: impl Fn(&Run) -> f64) -> (f64, f64) {
        self.runs
            .iter()
            .map(of)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
                (least.min(value), most.max(value))
            })
    }

    /// Microseconds.
    pub fn own_a_line(&self) -> f64 {
        self.median(|run| run.own / run.lines as f64) * 1e6
    }

    /// Bytes of memory for each stream more than there are in `fewer`. NaN where there are not more.
    pub fn bytes_a_stream(&self, fewer: &Self, of: fn(&Run) -> u64) -> f64 {
        let memory = |row: &Self| row.median(|run| of(run) as f64);
        let more = self.work.containers as f64 - fewer.work.containers as f64;
        (memory(self) - memory(fewer)) / more
    }
}

pub struct Results<'a> {
    pub scenario: &'a Scenario,
    /// From the fewest streams to the most.
    pub rows: Vec<Row>,
}

impl Results<'_> {
    /// What a row is called, among all.
    pub fn name(&self, row: &Row) -> String {
        match self.scenario.works.len() {
            1 => row.contestant.to_string(),
            _ => format!("{}, {} streams", row.contestant, row.work.containers),
        }
    }

    /// At the fewest streams and at the most.
    pub fn ends(&self, contestant: &Contestant) -> Option<(&Row, &Row)> {
        let mut rows = self.rows.iter().filter(|row| row.contestant == *contestant);
        let first = rows.next()?;
        Some((first, rows.next_back().unwrap_or(first)))
    }

    /// Another contestant at the same work.
    pub fn beside(&self, row: &Row, contestant: &Contestant) -> Option<&Row> {
        let mut peers = self.rows.iter().filter(|peer| peer.contestant == *contestant);
        peers.find(|peer| peer.work.containers == row.work.containers)
    }

    /// Seconds of the engine's processor time beyond those that it uses while nobody follows.
    pub fn caused(&self, row: &Row) -> f64 {
        let Some(nobody) = self.beside(row, &Contestant::Nobody) else {
            return f64::NAN;
        };
        let alone = match row.work.when {
            // Nothing is written meanwhile, and a follower may take longer.
            When::Before => nobody.median(|run| run.engine / run.span) * row.median(|run| run.span),
            When::Meanwhile | When::AtStart => nobody.median(|run| run.engine),
        };
        row.median(|run| run.engine) - alone
    }
}

/// The middle one, or the mean of the two in the middle. NaN of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
