//! What is measured: how many containers write what, and who follows them.

use std::time::Duration;

use crate::contestant::{Agent, Contestant, Named};

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
    /// Lines of each container.
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

/// Who is named on the command line.
pub struct Company {
    /// The first is the one whose goals are looked at.
    pub agents: Vec<Named>,
    pub collectors: Vec<Named>,
    /// Only these take part; all when there is none.
    pub only: Vec<String>,
}

/// One section of the report, one plot.
pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// Several where it is about what a stream more costs.
    pub works: Vec<Work>,
    /// The one with the goals, as it is by default.
    pub agent: Agent,
    pub contestants: Vec<Contestant>,
    /// The followers write into pipes, at whose other end each line's lateness is measured; else into files.
    pub late: bool,
}

pub const NAMES: [&str; 10] = [
    "drain",
    "fan-out",
    "latency",
    "idle",
    "burst",
    "long-lines",
    "rotation",
    "kernel",
    "churn",
    "growth",
];

/// How the agent is set.
type Variant = fn(Agent) -> Agent;
const DEFAULT: Variant = |agent| agent;
const LEDGER_ON_AND_OFF: &[Variant] = &[DEFAULT, Agent::without_ledger];
/// And from the files of the engine's log drivers.
const SETTINGS: &[Variant] = &[DEFAULT, Agent::without_ledger, Agent::reading_files];
const ROTATING: &[Variant] = &[
    |agent| agent.rotating("2s"),
    |agent| agent.rotating("1h"),
    |agent| agent.without_ledger().rotating("2s"),
];

const PEERS: &[Contestant] = &[Contestant::Bollard, Contestant::Curl, Contestant::DockerLogs];
/// A process for each of hundreds of streams is no way to follow them.
const ONE_PROCESS: &[Contestant] = &[Contestant::Bollard];

const MILLISECOND: Duration = Duration::from_millis(1);

impl Scenario {
    /// `short` is the same with less of everything, to see that it works.
    pub fn named(name: &str, short: bool, company: &Company) -> Option<Self> {
        let few = |long: usize, brief: usize| if short { brief } else { long };
        let steady = Work {
            containers: few(50, 5),
            lines: few(6_000, 300),
            length: 120,
            every: 10 * MILLISECOND,
            when: When::Meanwhile,
        };
        let at_once = Work {
            every: Duration::ZERO,
            ..steady
        };
        let with = |streams: &[usize], work: Work| -> Vec<Work> {
            let works = streams.iter().map(|&containers| Work { containers, ..work });
            works.collect()
        };
        let (about, works, variants, peers) = match name {
            "drain" => {
                let work = Work {
                    containers: 1,
                    lines: few(1_000_000, 50_000),
                    length: 200,
                    when: When::Before,
                    ..at_once
                };
                let about = "one container, all lines written before";
                (about, vec![work], SETTINGS, PEERS)
            }
            "fan-out" => {
                let about = "many containers that write steadily";
                (about, vec![steady], SETTINGS, PEERS)
            }
            "latency" => {
                let about = "fan-out again, into pipes: how late each line is";
                (about, vec![steady], SETTINGS, PEERS)
            }
            "idle" => {
                let work = Work {
                    lines: few(6, 2),
                    every: few(10_000, 2_000) as u32 * MILLISECOND,
                    ..steady
                };
                let streams: &[usize] = if short { &[5, 20] } else { &[50, 500] };
                let about = "containers that hardly ever write";
                (about, with(streams, work), SETTINGS, ONE_PROCESS)
            }
            "burst" => {
                let work = Work {
                    lines: few(20_000, 2_000),
                    ..at_once
                };
                let about = "many containers that all write at once, as fast as they can";
                (about, vec![work], SETTINGS, PEERS)
            }
            "long-lines" => {
                let work = Work {
                    containers: 1,
                    lines: few(5_000, 200),
                    length: 100 << 10,
                    when: When::Before,
                    ..at_once
                };
                let about = "lines that the engine cuts into seven parts";
                (about, vec![work], SETTINGS, PEERS)
            }
            "rotation" => {
                let about = "fan-out with another connection every 2 s, against none";
                (about, vec![steady], ROTATING, &[][..])
            }
            "kernel" => {
                let about = "fan-out with the ledger on and off: of this alone many rounds take little";
                (about, vec![steady], LEDGER_ON_AND_OFF, &[][..])
            }
            "churn" => {
                let work = Work {
                    containers: few(300, 10),
                    lines: 3,
                    when: When::AtStart,
                    ..at_once
                };
                let about = "containers that live for a moment; only whoever finds them by himself can take part";
                (about, vec![work], SETTINGS, &[][..])
            }
            "growth" => {
                let work = Work {
                    lines: few(300, 50),
                    every: 100 * MILLISECOND,
                    ..steady
                };
                let streams: &[usize] = if short { &[2, 5] } else { &[10, 50, 100, 200, 400] };
                let about = "what a stream more costs";
                (
                    about,
                    with(streams, work),
                    &[DEFAULT, Agent::reading_files][..],
                    ONE_PROCESS,
                )
            }
            _ => return None,
        };
        Some(Self {
            name: NAMES.into_iter().find(|known| *known == name)?,
            about,
            works,
            agent: Agent::new(company.agents.first()?.clone()),
            contestants: company.contestants(variants, peers),
            late: name == "latency",
        })
    }
}

impl Company {
    fn contestants(&self, variants: &[Variant], peers: &[Contestant]) -> Vec<Contestant> {
        let agents = self.agents.iter().flat_map(|build| {
            let of_build = |variant: &Variant| Contestant::Agent(variant(Agent::new(build.clone())));
            variants.iter().map(of_build)
        });
        agents
            .chain(peers.iter().cloned())
            .chain(self.collectors.iter().cloned().map(Contestant::Collector))
            .chain([Contestant::Nobody])
            .filter(|contestant| self.takes(contestant))
            .collect()
    }

    fn takes(&self, contestant: &Contestant) -> bool {
        let named = |name: &String| *name == contestant.to_string() || *name == contestant.family();
        self.only.is_empty() || self.only.iter().any(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contestants(scenario: &str, only: &[&str]) -> Vec<String> {
        let company = Company {
            agents: ["now=/a", "before=/b"].map(|named| named.parse().unwrap()).into(),
            collectors: vec!["other=cat".parse().unwrap()],
            only: only.iter().map(ToString::to_string).collect(),
        };
        let scenario = Scenario::named(scenario, true, &company).unwrap();
        scenario.contestants.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_name_is_a_scenario() {
        for name in NAMES {
            assert!(contestants(name, &[]).len() >= 4, "{name}");
        }
    }

    #[test]
    fn only_some_take_part() {
        assert_eq!(
            contestants("growth", &[]),
            [
                "now",
                "now, files",
                "before",
                "before, files",
                "bollard",
                "other",
                "nobody"
            ]
        );
        assert_eq!(contestants("kernel", &["now"]), ["now", "now, no ledger"]);
        assert_eq!(
            contestants("drain", &["before, no ledger", "curl"]),
            ["before, no ledger", "curl"]
        );
    }
}
