//! The runs of a scenario, and what they come to.

use crate::contestant::Contestant;
use crate::measure::Run;
use crate::scenario::{Scenario, Work};

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
}

pub struct Results<'a> {
    pub scenario: &'a Scenario,
    pub rows: Vec<Row>,
}

impl Results<'_> {
    /// Of the first work, unless there is no such contestant.
    pub fn row(&self, contestant: &Contestant) -> Option<&Row> {
        self.rows.iter().find(|row| row.contestant == *contestant)
    }
}

/// The middle one, or the mean of the two in the middle. NaN of none.
pub fn median(mut values: Vec<f64>) -> f64 {
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
