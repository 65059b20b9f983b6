//! Rounds of the same calls with and without the kernel half.

use std::time::Instant;

use log_capturer::kernel::{Kernel, Options};

use crate::{
    company,
    figures::Goal,
    workload::{Other, Workload},
};

/// How much is measured: rounds of attach and detach, and batches of calls within each.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    batches: usize,
}

impl Effort {
    pub const LONG: Self = Self {
        rounds: 21,
        batches: 60,
    };
    pub const SHORT: Self = Self { rounds: 5, batches: 20 };

    /// Disturbed rounds are repeated, but not without end.
    const fn most(self) -> usize {
        self.rounds * 3
    }

    const fn fewest(self) -> usize {
        self.rounds / 2
    }
}

pub struct Case {
    pub name: &'static str,
    /// In a process that is not watched.
    pub elsewhere: bool,
    workload: Workload,
    pub goal: Goal,
}

impl Case {
    pub const fn other(name: &'static str, workload: Workload, goal: Goal) -> Self {
        Self {
            name,
            elsewhere: true,
            workload,
            goal,
        }
    }

    pub const fn own(name: &'static str, workload: Workload, goal: Goal) -> Self {
        Self {
            elsewhere: false,
            ..Self::other(name, workload, goal)
        }
    }
}

pub struct Round {
    /// A case each. The mean of before and after: a machine that slows down slows both sides.
    pub without: Vec<f64>,
    pub with: Vec<f64>,
    pub attach: f64,
    pub detach: f64,
    /// Nobody else traced the host meanwhile.
    alone: bool,
}

/// As many as wanted that nobody disturbed; or all, and false, if there are too few of them.
pub fn run(cases: &[Case], effort: Effort) -> (Vec<Round>, bool) {
    let mut other = Other::start();
    let mut measure = || {
        let taken: Vec<f64> = cases
            .iter()
            .map(|case| match case.elsewhere {
                true => other.measure(case.workload, effort.batches),
                false => case.workload.measure(effort.batches),
            })
            .collect();
        (taken, !company::is_there())
    };
    let mut rounds: Vec<Round> = Vec::new();
    let mut before = measure();
    while rounds.len() < effort.most() && rounds.iter().filter(|round| round.alone).count() < effort.rounds {
        let begin = Instant::now();
        let kernel = Kernel::attach(&Options::default()).expect("as the first time");
        let attach = begin.elapsed().as_nanos() as f64;
        let (with, alone) = measure();
        let begin = Instant::now();
        drop(kernel);
        let detach = begin.elapsed().as_nanos() as f64;
        let after = measure();
        rounds.push(Round {
            without: before
                .0
                .iter()
                .zip(&after.0)
                .map(|(&before, &after)| f64::midpoint(before, after))
                .collect(),
            with,
            attach,
            detach,
            alone: before.1 && alone && after.1,
        });
        before = after;
    }
    let disturbed = rounds.iter().filter(|round| !round.alone).count();
    println!("{} rounds of {} batches", rounds.len(), effort.batches);
    let alone = rounds.len() - disturbed >= effort.fewest();
    if !alone {
        println!(
            "in {disturbed} of them others traced the host: what is added to unrelated calls is more than it says here"
        );
    } else if disturbed > 0 {
        println!("{disturbed} of them left out, as others traced the host meanwhile");
        rounds.retain(|round| round.alone);
    }
    println!("medians, and in brackets the quartiles over the rounds\n");
    (rounds, alone)
}
