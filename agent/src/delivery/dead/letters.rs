//! What the sinks and the commands share of the dead letters.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::super::batch::Records;
use super::super::metrics::Metrics;
use super::files::{Files, Held};
use super::letter::{self, Refusal};

/// So many commands may wait for one sink.
const WAITING: usize = 4;

/// How each sink is told to send letters again, by its name.
type Senders = Vec<(String, mpsc::Sender<Replay>)>;

/// All dead letters. Clones share them.
#[derive(Clone)]
pub struct DeadLetters {
    files: Arc<Mutex<Files>>,
    metrics: Metrics,
    sinks: Arc<Mutex<Senders>>,
}

/// Files that a sink is to send again.
pub struct Replay {
    /// What is left of them.
    pub files: VecDeque<Held>,
    /// What has come of it so far.
    pub so_far: Replayed,
    /// Who waits for the end.
    pub done: oneshot::Sender<Replayed>,
}

/// What has come of letters that were sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// The store has acknowledged so many. They are dead letters no more.
    pub stored: usize,
    /// The store has refused so many again.
    pub refused: usize,
}

impl DeadLetters {
    /// In that folder, with what it holds already.
    pub fn open(folder: &Path, max_bytes: u64, metrics: &Metrics) -> io::Result<Self> {
        let letters = Self {
            files: Arc::new(Mutex::new(Files::open(folder, max_bytes)?)),
            metrics: metrics.clone(),
            sinks: Arc::default(),
        };
        letters.show(&letters.lock());
        Ok(letters)
    }

    /// What a sink of this name is to send again comes here.
    pub fn register(&self, sink: &str) -> mpsc::Receiver<Replay> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.push((sink.to_owned(), sender));
        receiver
    }

    /// Keeps records of these numbers. `false` if there is no room for them; those that `replace` others have room. It returns
    /// when the disk has them.
    pub async fn keep(
        &self,
        refusal: (&str, &str, &str),
        records: &Records,
        numbers: &[usize],
        replace: bool,
    ) -> io::Result<bool> {
        let (sink, reason, said) = refusal;
        let refused = jiff::Timestamp::now().to_string();
        let refusal = Refusal {
            refused: &refused,
            sink,
            reason,
            said,
        };
        let mut text = Vec::new();
        for &number in numbers {
            for record in records.range(number..number + 1) {
                letter::write(&refusal, &record, &mut text);
            }
        }
        let (sink, letters) = (sink.to_owned(), numbers.len());
        self.blocking(move |files| files.append(&sink, &text, letters, replace))
            .await
    }

    /// The files that hold letters, in the order in which they were begun.
    pub async fn list(&self) -> io::Result<Vec<Held>> {
        self.blocking(|files| Ok(files.list())).await
    }

    /// The letters in one of them, a line of JSON each.
    pub async fn read(&self, held: Held) -> io::Result<Vec<u8>> {
        let file = self.blocking(move |files| files.read(&held)).await?;
        let mut text = Vec::with_capacity(file.len());
        for letter in letter::texts(&file) {
            text.extend_from_slice(letter);
            text.push(b'\n');
        }
        Ok(text)
    }

    /// The records in one of them, and how many letters cannot be read.
    pub async fn records(&self, held: Held) -> io::Result<(Records, usize)> {
        let file = self.blocking(move |files| files.read(&held)).await?;
        let records = letter::records(letter::texts(&file));
        let letters = file.split_inclusive(|&byte| byte == b'\n').count();
        let damaged = letters - records.len();
        Ok((records, damaged))
    }

    /// Keeps a file as `damaged`, in place of the one before.
    pub async fn set_aside(&self, held: Held) -> io::Result<usize> {
        self.blocking(move |files| files.set_aside(&held)).await
    }

    /// Removes a file. Gives how many letters it held.
    pub async fn remove(&self, held: Held) -> io::Result<usize> {
        self.blocking(move |files| files.remove(&held)).await
    }

    /// Removes what is there now, of one sink or of all. Gives how many letters that were.
    pub async fn purge(&self, sink: Option<String>) -> io::Result<usize> {
        self.blocking(move |files| {
            let closed = files.close(sink.as_deref());
            closed.iter().map(|held| files.remove(held)).sum()
        })
        .await
    }

    /// Has what is there now sent again, of one sink or of all, and waits for the end of it. What is of a sink that is not
    /// there, or that sends to no store, stays.
    pub async fn replay(&self, sink: Option<&str>) -> io::Result<Replayed> {
        let mut replayed = Replayed::default();
        let mut waiting = Vec::new();
        for (name, sender) in self.senders() {
            if sink.is_some_and(|sink| sink != name) {
                continue;
            }
            let (done, end) = oneshot::channel();
            let closed = self.blocking(move |files| Ok(files.close(Some(&name)))).await?;
            let replay = Replay {
                files: closed.into(),
                so_far: Replayed::default(),
                done,
            };
            if sender.send(replay).await.is_ok() {
                waiting.push(end);
            }
        }
        for end in waiting {
            // A sink that ends meanwhile has removed nothing that it was not told of.
            let of_sink = end.await.unwrap_or_default();
            replayed.stored += of_sink.stored;
            replayed.refused += of_sink.refused;
        }
        Ok(replayed)
    }

    /// How many there are, of one sink or of all.
    pub async fn count(&self, sink: Option<String>) -> io::Result<usize> {
        self.blocking(move |files| Ok(files.letters(sink.as_deref()))).await
    }

    fn senders(&self) -> Senders {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.clone()
    }

    /// The disk may take its time, and the runtime has one thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Files) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let letters = self.clone();
        let done = spawn_blocking(move || {
            let mut files = letters.lock();
            let done = work(&mut files);
            letters.show(&files);
            done
        });
        done.await.map_err(io::Error::other)?
    }

    fn show(&self, files: &Files) {
        self.metrics.letters.set(files.letters(None) as i64);
    }

    fn lock(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
