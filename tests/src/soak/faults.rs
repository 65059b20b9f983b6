//! What is done to the engine: again and again it stands still, and again and again it is killed.

use std::fmt;
use std::sync::PoisonError;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::churn::Churn;

/// How often each was done.
#[derive(Debug, Default)]
pub struct Faults {
    stopped: u32,
    killed: u32,
}

impl fmt::Display for Faults {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stopped, killed } = self;
        write!(
            text,
            "the engine stood still {stopped} times and was killed {killed} times"
        )
    }
}

/// In each cycle both faults, in any order and at any moment of their halves: so one cycle is as hard as the next.
pub fn make(churn: &Churn<'_>, cycle: Duration, mut random: Rng) -> Faults {
    let mut made = Faults::default();
    loop {
        let mut faults = [Faults::stand_still, Faults::kill];
        random.shuffle(&mut faults);
        for fault in faults {
            let end = Instant::now() + cycle / 2;
            if !churn.pause(cycle.mul_f64(random.f64() * 0.35)) {
                return made;
            }
            fault(&mut made, churn, &mut random);
            if !churn.pause(end.saturating_duration_since(Instant::now())) {
                return made;
            }
        }
    }
}

impl Faults {
    fn stand_still(&mut self, churn: &Churn<'_>, random: &mut Rng) {
        churn.engine.stop_signal().expect("stop the engine");
        sleep(Duration::from_millis(random.u64(1_000..4_000)));
        churn.engine.cont().expect("let the engine go on");
        self.stopped += 1;
    }

    fn kill(&mut self, churn: &Churn<'_>, random: &mut Rng) {
        let mut kills = churn.kills.write().unwrap_or_else(PoisonError::into_inner);
        churn.engine.kill9().expect("kill the engine");
        sleep(Duration::from_millis(random.u64(200..2_000)));
        churn.engine.restart().expect("start the engine again");
        *kills += 1;
        self.killed += 1;
    }
}
