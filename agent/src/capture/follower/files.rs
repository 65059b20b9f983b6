//! A stretch of reading a log from its files. There is no connection that could grow old, be cut, or fall silent.

use std::future::poll_fn;

use tracing::{debug, info, warn};

use super::taking::SoFar;
use super::{End, Follower};
use crate::capture::captured::until;
use crate::source::{Cause, Fault, FileStream, Found, Log, NotHere, Progress, Trouble};

impl Follower {
    /// The files of the log, where it can be read from them; nothing, where it is to be read through the API. The log says
    /// once why it is not read from its files.
    pub(super) fn files(&mut self) -> Result<Option<Found>, Fault> {
        let container = &self.container.name;
        let why = match self.services.source.files(&self.container.id) {
            Ok(found) => {
                debug!(container, path = %found.path().display(), "its log is read from its files");
                return Ok(Some(found));
            }
            Err(NotHere::NotWanted) => return Ok(None),
            Err(why) => why.to_string(),
        };
        if !self.services.source.falls_back() {
            let text = format!("its log cannot be read from files, and capture.source is files: {why}");
            return Err(Fault::Broken(Cause::new(text, "not_readable")));
        }
        if self.not_by_files.as_ref() != Some(&why) {
            info!(container, why, "its log is read through the API");
            self.not_by_files = Some(why);
        }
        Ok(None)
    }

    /// Reads the log for as long as the container runs.
    pub(super) async fn read_files(&mut self, found: Found) -> End {
        let services = std::sync::Arc::clone(&self.services);
        let _reading = services.metrics.reads_from("file");
        let _active = services.metrics.active();
        // What a mark leaves out was taken before. Where the lines behind it say otherwise, all is read.
        let mark = self.captured.mark();
        let (mut stream, from_beginning) = match found.open(mark, self.captured.floor()) {
            Ok(opened) => opened,
            Err(fault) => return self.not_opened(fault),
        };
        self.captured.begin_files(from_beginning);
        let mut so_far = SoFar::default();
        so_far.begins();
        let mut over = false;
        let mut life = self.life.clone();
        loop {
            if !over && life.borrow_and_update().is_over() {
                over = true;
                stream.container_is_over();
            }
            self.rename();
            let deadline = self.captured.deadline();
            tokio::select! {
                // Reading comes last: a busy file has always more.
                biased;
                changed = life.changed(), if !over => if changed.is_err() {
                    return End::Died;
                },
                () = until(deadline) => self.captured.flush_due(),
                () = until(so_far.patience) => so_far.lose_patience(),
                progress = poll_fn(|cx| self.poll_read(cx, &mut stream, &mut so_far, deadline, true)) => {
                    self.troubled(&mut stream);
                    if self.captured.falls_short() {
                        self.captured.ask_for_more();
                        return End::FellShort;
                    }
                    match progress {
                        Ok(Progress::Read(_)) => {
                            so_far.other_policy = false;
                            tokio::task::yield_now().await;
                        }
                        Ok(Progress::Ended) => return self.files_ended(&mut stream),
                        Err(fault) => return self.not_read(fault),
                    }
                }
            }
        }
    }

    /// The container has ended, and its log was read to the end.
    fn files_ended(&mut self, stream: &mut FileStream) -> End {
        self.whole = Some(self.life.borrow().starts);
        let captured = &mut self.captured;
        let finished = stream.finish(&mut |line| {
            captured.take_open(&line);
        });
        captured.finish();
        match finished {
            Ok(()) => End::Died,
            Err(fault) => self.not_read(fault),
        }
    }

    /// Tells of what was wrong with the files, and counts it.
    fn troubled(&mut self, stream: &mut FileStream) {
        let container = &self.container.name;
        match stream.trouble() {
            None => return,
            Some(Trouble::Damaged { offset, bytes }) => {
                warn!(
                    container,
                    offset, bytes, "its log file is damaged: what is no record is left out"
                );
                self.count("damaged");
                return;
            }
            Some(Trouble::Truncated) => {
                warn!(container, "its log file was truncated: lines may be missing");
            }
            Some(Trouble::FilesMissing) => {
                warn!(
                    container,
                    "log files were removed before they were read: lines may be missing"
                );
            }
        }
        self.captured.note_gap();
        self.captured.publish();
    }
}
