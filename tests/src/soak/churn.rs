//! Containers that come, write and go, all the while: a steady number of them, of two sorts. Most are kept until all their
//! lines were read, so each of these is due exactly once. The others are removed while they write.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::tally::{Gone, Tally};
use crate::engine::Engine;
use crate::wait::PATIENCE;
use crate::writers::{Kind, Writer};

/// How many containers there are at a time.
pub const ALIVE: usize = 8;
/// One of so many is removed while it writes.
const REMOVED: u8 = 4;
const BURST: usize = 10;
const PAUSE: f32 = 0.5;
const LOOK: Duration = Duration::from_millis(500);

/// How long a container is still there that was read.
const LINGERS: Duration = Duration::from_secs(2);

/// The churn of one soak, which all its threads share.
pub struct Churn<'a> {
    /// Where the containers run.
    pub engine: &'a Engine,
    /// What became of their lines.
    pub tally: Mutex<Tally>,
    /// How often the engine was killed. Held for reading by whoever asks it something, for writing while it is away.
    pub kills: RwLock<u32>,
    /// How many containers there are now.
    pub alive: AtomicUsize,
    /// Set when all threads must end.
    pub over: AtomicBool,
    met: AtomicUsize,
}

impl<'a> Churn<'a> {
    /// Nothing has happened yet.
    pub fn new(engine: &'a Engine, tally: Tally) -> Self {
        Self {
            engine,
            tally: Mutex::new(tally),
            kills: RwLock::new(0),
            alive: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            met: AtomicUsize::new(0),
        }
    }

    /// What became of the lines, for one thread at a time.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all threads must end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Sleeps; less where all is over, and then says so.
    pub fn pause(&self, length: Duration) -> bool {
        let end = Instant::now() + length;
        while !self.is_over() && Instant::now() < end {
            sleep(LOOK.min(end.saturating_duration_since(Instant::now())));
        }
        !self.is_over()
    }

    /// One container after the other, until all is over. The last one is seen to its end, too.
    pub fn one_after_the_other(&self, mut random: Rng) {
        // Not all at once.
        self.pause(Duration::from_millis(random.u64(..4_000)));
        while !self.is_over() {
            let number = self.met.fetch_add(1, Ordering::SeqCst);
            let life = random.f32() * 8.0 + 2.0;
            if random.u8(..REMOVED) == 0 {
                self.removed_in_mid_writing(&format!("removed-{number:05}"), Duration::from_secs_f32(life));
            } else {
                let kind = random
                    .choice([Kind::Short, Kind::Mixed, Kind::Unterminated])
                    .expect("one");
                let lines = (life / PAUSE) as usize * BURST;
                self.kept_until_read(&Writer::new(format!("kept-{number:05}"), kind, lines).pace(BURST, PAUSE));
            }
        }
    }

    fn awake(&self) -> RwLockReadGuard<'_, u32> {
        self.kills.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, writer: &Writer) -> u32 {
        let kills = self.awake();
        writer.start(self.engine);
        self.alive.fetch_add(1, Ordering::SeqCst);
        *kills
    }

    fn kept_until_read(&self, writer: &Writer) {
        let kills = self.start(writer);
        let began = Instant::now();
        let writing = Duration::from_secs_f32(writer.lines as f32 / BURST as f32 * PAUSE);
        sleep(writing);
        // The engine may stand still meanwhile, or be started again.
        while !self.is_read(writer, kills) && began.elapsed() < writing + PATIENCE {
            sleep(LOOK);
        }
        // That these were the last ones the agent does not know yet.
        sleep(LINGERS);
        self.remove(writer.clone(), kills, false);
    }

    fn is_read(&self, writer: &Writer, kills: u32) -> bool {
        let come = {
            let mut tally = self.tally();
            tally.advance();
            tally.count(&writer.name)
        };
        if come >= writer.lines {
            return true;
        }
        let now = self.awake();
        if *now == kills {
            return false;
        }
        // The engine itself may have fewer.
        let state = self
            .engine
            .docker(&["inspect", "--format", "{{.State.Status}}", &writer.name]);
        state.expect("inspect a container") == "exited"
            && Gone::logged(self.engine, &writer.name).iter().flatten().count() <= come
    }

    fn removed_in_mid_writing(&self, name: &str, life: Duration) {
        // More than it can write.
        let writer = Writer::new(name, Kind::Short, 10_000).pace(BURST, PAUSE);
        let kills = self.start(&writer);
        self.pause(life);
        self.remove(writer, kills, true);
    }

    fn remove(&self, writer: Writer, kills: u32, in_mid_writing: bool) {
        let now = self.awake();
        let logged = (*now != kills).then(|| Gone::logged(self.engine, &writer.name));
        self.engine
            .docker(&["rm", "--force", &writer.name])
            .expect("remove a container");
        self.alive.fetch_sub(1, Ordering::SeqCst);
        self.tally().is_gone(Gone {
            writer,
            logged,
            in_mid_writing,
            since: Instant::now(),
        });
    }
}
