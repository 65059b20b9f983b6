//! What is measured: how many containers write what, and who follows them.

use std::time::Duration;

use crate::contestant::{Collector, Contestant};

/// When the lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anybody reads. Everything counts, the start of the follower too.
    Before,
    /// While they are followed: what counts begins when the writing does.
    Meanwhile,
    /// By containers that start while they are followed, and end at once.
    AtStart,
}

/// Containers that all write alike.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub containers: usize,
    /// Of each container.
    pub lines: usize,
    /// Bytes of a line, its end not counted.
    pub length: usize,
    /// From one line of a container to its next; zero: as fast as they are taken.
    pub every: Duration,
    pub when: When,
}

impl Work {
    /// How long the writing takes, where that is given.
    pub fn lasts(&self) -> Duration {
        self.every * u32::try_from(self.lines).unwrap_or(u32::MAX)
    }
}

/// One table, one plot.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// More than one where it is about growth.
    pub works: Vec<Work>,
    pub contestants: Vec<Contestant>,
    /// The followers write into pipes, at whose other end each line's lateness is measured; else into files.
    pub late: bool,
}

pub const NAMES: [&str; 9] = [
    "drain",
    "fan-out",
    "latency",
    "idle",
    "burst",
    "long-lines",
    "rotation",
    "churn",
    "growth",
];

const MILLISECOND: Duration = Duration::from_millis(1);

impl Scenario {
    /// `short` is the same with less of everything, to see that it works.
    pub fn named(name: &str, short: bool, collectors: &[Collector]) -> Option<Self> {
        let few = |long: usize, brief: usize| if short { brief } else { long };
        let fan_out = Work {
            containers: few(50, 5),
            lines: few(6_000, 300),
            length: 120,
            every: 10 * MILLISECOND,
            when: When::Meanwhile,
        };
        let agent = Contestant::agent();
        let everybody = [
            agent.clone(),
            agent.clone().without_ledger(),
            Contestant::Bollard,
            Contestant::Curl,
            Contestant::DockerLogs,
        ];
        let also = |mut contestants: Vec<Contestant>, nobody: bool| {
            contestants.extend(nobody.then_some(Contestant::Nobody));
            contestants.extend(collectors.iter().cloned().map(Contestant::Collector));
            contestants
        };
        let scenario = |name, about, works: Vec<Work>, contestants| Self {
            name,
            about,
            works,
            contestants,
            late: false,
        };
        Some(match name {
            "drain" => {
                let work = Work {
                    containers: 1,
                    lines: few(1_000_000, 50_000),
                    length: 200,
                    every: Duration::ZERO,
                    when: When::Before,
                };
                let about = "one container, all lines written before";
                scenario(NAMES[0], about, vec![work], also(everybody.to_vec(), false))
            }
            "fan-out" => {
                let about = "many containers that write steadily";
                scenario(NAMES[1], about, vec![fan_out], also(everybody.to_vec(), true))
            }
            "latency" => Self {
                late: true,
                ..scenario(
                    NAMES[2],
                    "fan-out again, into pipes: how late each line is",
                    vec![fan_out],
                    also(everybody.to_vec(), false),
                )
            },
            "idle" => {
                let work = Work {
                    containers: few(500, 20),
                    lines: few(6, 2),
                    every: few(10_000, 2_000) as u32 * MILLISECOND,
                    ..fan_out
                };
                let about = "containers that hardly ever write";
                scenario(
                    NAMES[3],
                    about,
                    vec![work],
                    also(vec![agent, Contestant::Bollard], true),
                )
            }
            "burst" => {
                let work = Work {
                    lines: few(20_000, 2_000),
                    every: Duration::ZERO,
                    ..fan_out
                };
                let about = "many containers that all write at once, as fast as they can";
                scenario(NAMES[4], about, vec![work], also(everybody.to_vec(), false))
            }
            "long-lines" => {
                let work = Work {
                    containers: 1,
                    lines: few(5_000, 200),
                    length: 100 << 10,
                    every: Duration::ZERO,
                    when: When::Before,
                };
                let about = "lines that the engine cuts into seven parts";
                scenario(NAMES[5], about, vec![work], also(everybody.to_vec(), false))
            }
            "rotation" => {
                let about = "fan-out with another connection every 2 s, against none";
                let contestants = vec![agent.clone().rotating("2s"), agent.rotating("1h"), Contestant::Nobody];
                scenario(NAMES[6], about, vec![fan_out], contestants)
            }
            "churn" => {
                let work = Work {
                    containers: few(300, 10),
                    lines: 3,
                    length: 120,
                    every: Duration::ZERO,
                    when: When::AtStart,
                };
                let about = "containers that live for a moment; only whoever finds them by himself can take part";
                scenario(NAMES[7], about, vec![work], also(vec![agent], false))
            }
            "growth" => {
                let streams: &[usize] = if short { &[2, 5] } else { &[10, 50, 100, 200, 400] };
                let works = streams.iter().map(|&containers| Work {
                    containers,
                    lines: few(300, 50),
                    every: 100 * MILLISECOND,
                    ..fan_out
                });
                let about = "what a stream more costs";
                scenario(
                    NAMES[8],
                    about,
                    works.collect(),
                    also(vec![agent, Contestant::Bollard], false),
                )
            }
            _ => return None,
        })
    }
}
