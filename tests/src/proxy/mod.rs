//! A faulty proxy between the agent and its engine: it cuts connections anywhere, lets them stand still, or lets them
//! trickle.

mod place;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::faults::Peer;
use place::Answer;
pub use place::Place;

/// How long a stall is that ends.
const STALL: Duration = Duration::from_millis(1_500);
/// Bytes that come one by one.
const TRICKLE: usize = 1_500;
/// How long each of them takes.
const BYTE: Duration = Duration::from_micros(500);

/// What is done to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An end in that place.
    Cut(Place),
    /// An end, wherever it is.
    CutAnywhere,
    /// Nothing more comes for [`STALL`]; then it goes on.
    Stall,
    /// Nothing more comes for [`STALL`]; then it ends.
    StallAndCut,
    /// Nothing more comes, and it stays open.
    StallForGood,
    /// For a stretch, each byte comes by itself.
    Trickle,
}

impl Fault {
    /// All that end by themselves.
    pub const PASSING: [Self; 8] = [
        Self::Cut(Place::Head),
        Self::Cut(Place::ChunkSize),
        Self::Cut(Place::FrameHeader),
        Self::Cut(Place::Payload),
        Self::CutAnywhere,
        Self::Stall,
        Self::StallAndCut,
        Self::Trickle,
    ];
}

/// A fault, and when.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What is done.
    pub fault: Fault,
    /// Bytes of the answer before it.
    pub after: usize,
}

/// How often each fault was done.
type Done = BTreeMap<Fault, usize>;

#[derive(Default)]
struct State {
    calm: AtomicBool,
    accepted: AtomicU64,
    open: AtomicUsize,
    done: Mutex<Done>,
}

impl State {
    fn count(&self, fault: Fault) {
        *self.done().entry(fault).or_default() += 1;
    }

    fn done(&self) -> MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket before an engine's, at which faults are made.
pub struct Proxy {
    peer: Peer,
    state: Arc<State>,
}

impl Proxy {
    /// `plan` says what is to be done to a connection with this request line, if anything.
    pub fn start(
        engine: &Path,
        seed: u64,
        plan: impl Fn(&str, &mut Rng, &Done) -> Option<Plan> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(State::default());
        let (shared, engine) = (Arc::clone(&state), engine.to_owned());
        let peer = Peer::start(move |client| {
            shared.open.fetch_add(1, Ordering::SeqCst);
            let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
            let mut random = Rng::with_seed(seed.wrapping_add(number));
            let served = UnixStream::connect(&engine).and_then(|engine| {
                serve(&client, &engine, &shared, |request| {
                    plan(request, &mut random, &shared.done())
                })
            });
            drop(client);
            shared.open.fetch_sub(1, Ordering::SeqCst);
            served
        });
        Self { peer, state }
    }

    /// Every passing fault, to log streams mostly.
    pub fn random(engine: &Path, seed: u64) -> Self {
        Self::start(engine, seed, |request, random, done| {
            if request.contains("/logs") {
                let mut faults = Fault::PASSING;
                random.shuffle(&mut faults);
                // Some find their place less often.
                if random.bool() {
                    faults.sort_by_key(|fault| done.get(fault).copied());
                }
                // While the stream still repeats what is known, or behind that.
                let most = if random.bool() { 3_000 } else { 100_000 };
                let after = random.usize(..most);
                return Some(Plan {
                    fault: faults[0],
                    after,
                });
            }
            let fault = random.choice([Fault::CutAnywhere, Fault::Stall, Fault::Trickle])?;
            let after = random.usize(..2_000);
            (random.u8(..4) == 0).then_some(Plan { fault, after })
        })
    }

    /// The socket for the agent.
    pub fn path(&self) -> &Path {
        self.peer.path()
    }

    /// From now on everything passes; what stands still for good goes on to.
    pub fn calm(&self) {
        self.state.calm.store(true, Ordering::SeqCst);
    }

    /// Connections that neither side has ended.
    pub fn open(&self) -> usize {
        self.state.open.load(Ordering::SeqCst)
    }

    /// How often each fault was done.
    pub fn done(&self) -> Done {
        self.state.done().clone()
    }
}

fn serve(
    client: &UnixStream,
    engine: &UnixStream,
    state: &State,
    plan: impl FnOnce(&str) -> Option<Plan>,
) -> io::Result<()> {
    let mut request = [0; 16 * 1024];
    let length = (&*client).read(&mut request)?;
    let request = &request[..length];
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let plan = plan(&String::from_utf8_lossy(line));
    (&*engine).write_all(request)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*client, &mut &*engine);
            // The client's end is the connection's. Never the other way round only: to the engine half an end is one, too.
            let _ = engine.shutdown(Shutdown::Both);
        });
        let answered = answer(client, engine, state, plan);
        if !matches!(answered, Ok(Outcome::StandsStill)) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = engine.shutdown(Shutdown::Both);
        }
        answered.map(drop)
    })
}

enum Outcome {
    Ended,
    /// Nobody passes anything on any more, until the client hangs up.
    StandsStill,
}

/// Passes the engine's answers on, but for the fault.
fn answer(
    mut client: &UnixStream,
    mut engine: &UnixStream,
    state: &State,
    mut plan: Option<Plan>,
) -> io::Result<Outcome> {
    let mut answer = Answer::default();
    let (mut passed, mut slow) = (0, 0);
    let mut buffer = [0; 64 * 1024];
    loop {
        let length = engine.read(&mut buffer)?;
        if length == 0 {
            return Ok(Outcome::Ended);
        }
        let mut bytes = &buffer[..length];
        if state.calm.load(Ordering::SeqCst) {
            plan = None;
        }
        if let Some(Plan { fault, after }) = plan
            && let Some(at) = bytes.iter().position(|byte| {
                passed += 1;
                match fault {
                    Fault::Cut(Place::Head) => answer.take(*byte) == Place::Head,
                    Fault::Cut(place) => answer.take(*byte) == place && passed >= after,
                    _ => passed >= after,
                }
            })
        {
            plan = None;
            let (before, rest) = bytes.split_at(at + 1);
            client.write_all(before)?;
            bytes = rest;
            state.count(fault);
            match fault {
                Fault::Cut(_) | Fault::CutAnywhere => return Ok(Outcome::Ended),
                Fault::StallForGood => return Ok(Outcome::StandsStill),
                Fault::Stall => thread::sleep(STALL),
                Fault::StallAndCut => {
                    thread::sleep(STALL);
                    return Ok(Outcome::Ended);
                }
                Fault::Trickle => slow = TRICKLE,
            }
        }
        let (by_byte, at_once) = bytes.split_at(bytes.len().min(slow));
        slow -= by_byte.len();
        for byte in by_byte {
            client.write_all(&[*byte])?;
            thread::sleep(BYTE);
        }
        client.write_all(at_once)?;
    }
}
