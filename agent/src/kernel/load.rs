//! The programs on their way into the kernel. Its verifier takes most of the time of an attach, and goes through programs of
//! different threads at the same time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use aya::Ebpf;
use aya::programs::{Program, ProgramError};

use super::refusal::Refusal;

/// The programs that nobody has begun to load, and what has gone wrong.
struct Queue<'a> {
    waiting: Vec<(&'static str, &'a mut Program)>,
    refused: Option<Refusal>,
}

/// Loads the programs of these names, in this order, by two threads. The first refusal ends it.
pub(super) fn load(
    ebpf: &mut Ebpf,
    names: &[&'static str],
    load: impl Fn(&str, &mut Program) -> Result<(), ProgramError> + Sync,
) -> Result<(), Refusal> {
    let mut waiting = Vec::new();
    for (name, program) in ebpf.programs_mut() {
        if let Some(place) = names.iter().position(|wanted| *wanted == name) {
            waiting.push((place, program));
        }
    }
    if let Some(missing) = (0..names.len()).find(|place| waiting.iter().all(|(there, _)| there != place)) {
        return Err(Refusal::foreign_object(names[missing]));
    }
    // The next one is taken from the end.
    waiting.sort_by_key(|&(place, _)| std::cmp::Reverse(place));
    let waiting = waiting.into_iter().map(|(place, program)| (names[place], program));
    let queue = Mutex::new(Queue {
        waiting: waiting.collect(),
        refused: None,
    });
    let work = || {
        while let Some((name, program)) = next(&queue) {
            if let Err(error) = load(name, program) {
                let mut queue = lock(&queue);
                queue.waiting.clear();
                queue.refused.get_or_insert_with(|| Refusal::load(name, &error));
            }
        }
    };
    thread::scope(|scope| {
        // Where no thread can be had, this one loads them all.
        let _ = thread::Builder::new()
            .name("kernel-load".into())
            .spawn_scoped(scope, work);
        work();
    });
    match queue.into_inner().unwrap_or_else(PoisonError::into_inner).refused {
        Some(refusal) => Err(refusal),
        None => Ok(()),
    }
}

fn next<'a>(queue: &Mutex<Queue<'a>>) -> Option<(&'static str, &'a mut Program)> {
    lock(queue).waiting.pop()
}

fn lock<'a, 'b>(queue: &'b Mutex<Queue<'a>>) -> MutexGuard<'b, Queue<'a>> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
