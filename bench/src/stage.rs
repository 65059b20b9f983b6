//! A private engine with containers on it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use private_engine::{IMAGE, PrivateEngine};

use crate::interrupt;
use crate::process::processor_time;
use crate::scenario::{When, Work};

/// Containers that are started at the same time.
const AT_ONCE: usize = 4;
/// Beyond the time that the writing is to take.
const PATIENCE: Duration = Duration::from_secs(300);

pub struct Stage {
    pub engine: PrivateEngine,
    line_writer: PathBuf,
    /// In each container as `/go`.
    go: PathBuf,
}

impl Stage {
    pub fn new(line_writer: &Path) -> Result<Self> {
        ensure!(line_writer.is_file(), "no {}", line_writer.display());
        let engine = PrivateEngine::start()?;
        engine.import_busybox()?;
        let go = engine.dir().join("go");
        Ok(Self {
            engine,
            line_writer: line_writer.to_owned(),
            go,
        })
    }

    /// The containers of `work`, by their ids. Where they write before, they have; where they write meanwhile, they wait
    /// for the first turn.
    pub fn containers(&self, work: &Work) -> Result<Vec<String>> {
        if self.go.exists() {
            fs::remove_dir_all(&self.go)?;
        }
        fs::create_dir(&self.go)?;
        if work.when != When::Meanwhile {
            self.go(1)?;
        }
        let ids = self.run(work)?;
        if work.when == When::Before {
            self.wait_written(&ids, work)?;
        }
        Ok(ids)
    }

    /// They write, for the `turn`th time.
    pub fn go(&self, turn: usize) -> Result<()> {
        Ok(fs::write(self.go.join(turn.to_string()), "")?)
    }

    /// Empties the containers' logs, which nobody may be following: the engine appends, and so goes on from there.
    pub fn rewind(&self, ids: &[String]) -> Result<()> {
        for id in ids {
            File::options().write(true).open(self.log(id))?.set_len(0)?;
        }
        Ok(())
    }

    /// Until each container's last line is in its log, to its end.
    pub fn wait_written(&self, ids: &[String], work: &Work) -> Result<()> {
        let end = Instant::now() + work.lasts() + PATIENCE;
        for id in ids {
            while !self.has_written(id, work)? {
                interrupt::check()?;
                ensure!(
                    Instant::now() < end,
                    "a container has not written all its lines after {PATIENCE:?}"
                );
                sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }

    /// Looks into the file, as asking the engine would cost what is being measured. A long line is several records
    /// there, of which the first has the line's mark and the last its end.
    fn has_written(&self, id: &str, work: &Work) -> Result<bool> {
        let mut file = File::open(self.log(id))?;
        let tail = 2 * work.length as u64 + 4096;
        file.seek(SeekFrom::Start(file.metadata()?.len().saturating_sub(tail)))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let last = text.rfind(&format!(".{}.", work.lines - 1));
        Ok(last.is_some_and(|at| text[at..].contains(r#"\n","stream""#)))
    }

    fn log(&self, id: &str) -> PathBuf {
        self.engine.dir().join(format!("data/containers/{id}/{id}-json.log"))
    }

    fn run(&self, work: &Work) -> Result<Vec<String>> {
        let next = AtomicUsize::new(0);
        let ids = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            let starters: Vec<_> = (0..AT_ONCE)
                .map(|_| {
                    scope.spawn(|| {
                        loop {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            if number >= work.containers {
                                return anyhow::Ok(());
                            }
                            let id = self.run_one(number, work)?;
                            ids.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                        }
                    })
                })
                .collect();
            for starter in starters {
                starter.join().expect("starting does not panic")?;
            }
            anyhow::Ok(())
        })?;
        Ok(ids.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn run_one(&self, number: usize, work: &Work) -> Result<String> {
        interrupt::check()?;
        let writer = format!("{}:/line-writer:ro", self.line_writer.display());
        let go = format!("{}:/go:ro", self.go.display());
        let arguments = [
            number.to_string(),
            work.lines.to_string(),
            work.length.to_string(),
            work.every.as_micros().to_string(),
            "/go".to_owned(),
            u8::from(work.when != When::AtStart).to_string(),
        ];
        let mut all = vec!["--volume", &writer, "--volume", &go, IMAGE, "/line-writer"];
        all.extend(arguments.iter().map(String::as_str));
        self.engine.run(&all).context("start a container")
    }

    /// Removes all containers.
    pub fn clear(&self) -> Result<()> {
        let ids = self.engine.docker(&["ps", "--all", "--quiet"])?;
        let ids: Vec<&str> = ids.lines().collect();
        // Not all at once: the engine takes what it is given side by side.
        for some in ids.chunks(50) {
            let mut arguments = vec!["rm", "--force"];
            arguments.extend(some);
            self.engine.docker(&arguments)?;
        }
        Ok(())
    }

    /// The processor time of `dockerd` alone, which hands out the logs.
    pub fn processor_time(&self) -> Duration {
        processor_time(self.engine.pid())
    }
}
