//! A log that is read from its files.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};

use super::super::fault::{Cause, Fault};
use super::super::log::{Log, Progress, Trouble};
use super::super::mark::{BEFORE, Identity, Mark};
use super::chain::{self, Listed};
use super::opened::{Open, is_packed_from, written};
use super::place::Place;
use super::shared::Shared;
use super::watcher::{Names, Watch};
use crate::decode::{FileDecoder, Found, LONGEST};
use crate::record::{Line, Time};

/// Bytes of one read.
const READ: usize = 256 * 1024;
/// Files that are open ahead of the one that is read. What the driver removes meanwhile is not lost.
const AHEAD: usize = 16;
/// Reads in a row with more than a line, after which a log is looked at with each rest of the thread.
const BUSY: u32 = 8;
/// How long a log that brings nothing is looked at with each rest.
const COOLS: Duration = Duration::from_millis(100);
/// A file that was begun so soon after the one before was written to for the last time came right after it: a tick of the
/// clock that file systems go by.
const AT_ONCE: i64 = 4_000_000;
/// Lines that a position remembers, which must come again after a mark.
pub const EVIDENCE: u64 = 32;

thread_local! {
    /// Where every log of the thread is read into. An idle one has no buffer of its own.
    static BUFFER: RefCell<Buffer> = RefCell::new(Buffer {
        bytes: vec![0; BEFORE + READ],
        scratch: Vec::new(),
    });
}

struct Buffer {
    bytes: Vec<u8>,
    /// For text that is not in the file as it is.
    scratch: Vec<u8>,
}

/// An open log. Its files stay readable when the driver removes them.
#[derive(Debug)]
pub struct FileStream {
    place: Place,
    shared: Arc<Shared>,
    watch: Watch,
    decoder: FileDecoder,
    /// Oldest first. The first one is read; the last one is the newest that is known, unless there is more `behind`.
    files: VecDeque<Open>,
    /// More files were there than are opened ahead.
    behind: bool,
    offset: u64,
    /// The bytes before the offset, which must still be there at the next read.
    before: Before,
    /// The container writes no more.
    over: bool,
    /// Its folder has been removed.
    removed: bool,
    busy: u32,
    heard: Instant,
    marks: Marks,
    trouble: Option<Trouble>,
    /// Bytes on the disk that are there for this stream alone.
    held: u64,
}

/// Up to [`BEFORE`] bytes.
#[derive(Clone, Copy, Debug)]
struct Before {
    bytes: [u8; BEFORE],
    length: usize,
}

impl Before {
    const NOTHING: Self = Self {
        bytes: [0; BEFORE],
        length: 0,
    };

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// The last bytes of `read`, which begins with those that were known.
    fn keep(&mut self, read: &[u8]) {
        self.length = read.len().min(BEFORE);
        self.bytes[..self.length].copy_from_slice(&read[read.len() - self.length..]);
    }
}

/// The two latest places at which no line had begun, of which the first has enough lines behind it.
#[derive(Debug, Default)]
struct Marks {
    settled: Option<Mark>,
    next: Option<Mark>,
    /// Lines since the next one.
    lines: u64,
}

impl Marks {
    fn at(&mut self, mark: Mark) {
        if self.lines >= EVIDENCE || self.next.is_none() {
            self.settled = self.next.replace(mark);
            self.lines = 0;
        }
    }
}

impl FileStream {
    /// Opens the log at a mark; where that is none of its files' any more, at the beginning of the oldest. Tells whether it
    /// is the beginning.
    pub(super) fn open(
        place: Place,
        shared: Arc<Shared>,
        mark: Option<Mark>,
        floor: Option<Time>,
    ) -> Result<(Self, bool), Fault> {
        // First of all: what happens while the files are listed is told then.
        let watch = shared.watcher.watch(&place.folder, &place.name);
        let decoder = shared.decoder(&place);
        let mut stream = Self {
            place,
            shared,
            watch,
            decoder,
            files: VecDeque::new(),
            behind: false,
            offset: 0,
            before: Before::NOTHING,
            over: false,
            removed: false,
            busy: 0,
            heard: Instant::now(),
            marks: Marks::default(),
            trouble: None,
            held: 0,
        };
        let listed = stream.list()?;
        let begins = mark.and_then(|mark| stream.begin_at(mark, &listed)).is_none();
        if begins {
            let is_wanted = |file: &Listed| floor.is_none_or(|floor| file.changed >= floor);
            let from = listed
                .iter()
                .position(is_wanted)
                .unwrap_or(listed.len().saturating_sub(1));
            stream.open_ahead(&listed[from..])?;
        }
        stream.marks.settled = mark.filter(|_| !begins);
        Ok((stream, begins))
    }

    /// Goes to a mark, where that is still what it was.
    fn begin_at(&mut self, mark: Mark, listed: &[Listed]) -> Option<()> {
        let at = listed.iter().position(|file| file.identity == mark.file())?;
        let file = chain::open(&listed[at]).ok()??;
        (!listed[at].compressed && mark.fits(&file)).then_some(())?;
        let mut before = [0; BEFORE];
        let length = mark.offset().min(BEFORE as u64) as usize;
        file.read_exact_at(&mut before[..length], mark.offset() - length as u64)
            .ok()?;
        self.offset = mark.offset();
        self.before = Before { bytes: before, length };
        self.files.push_back(Open {
            file,
            identity: mark.file(),
            packed: None,
        });
        self.open_ahead(&listed[at + 1..]).ok()
    }

    /// The container writes no more: the log ends where its files end.
    pub fn container_is_over(&mut self) {
        self.over = true;
    }

    fn list(&mut self) -> Result<Vec<Listed>, Fault> {
        match chain::list(&self.place, || self.watch.drain()) {
            Ok(listed) => Ok(listed),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.removed = true;
                Ok(Vec::new())
            }
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn open_ahead(&mut self, listed: &[Listed]) -> Result<(), Fault> {
        self.behind = false;
        for listed in listed {
            if self.files.len() > AHEAD {
                self.behind = true;
                break;
            }
            match chain::open(listed) {
                Ok(Some(file)) => self.files.push_back(Open::new(file, listed)),
                // It got another name since it was listed. It is found again from the one before it.
                Ok(None) => {
                    self.behind = true;
                    break;
                }
                Err(error) => return Err(self.broken(&error)),
            }
        }
        self.count_held();
        Ok(())
    }

    /// Looks whether the driver has begun another file.
    fn look_for_newer(&mut self) -> Result<(), Fault> {
        if self.removed {
            return Ok(());
        }
        let Some(newest) = self.files.back() else {
            return self.extend();
        };
        if self.behind {
            return if self.files.len() < AHEAD / 2 {
                self.extend()
            } else {
                Ok(())
            };
        }
        // What the kernel has told so far, although nobody was woken for it yet: between a look that knows nothing of a
        // rotation and the next one there can be another.
        self.watch.drain();
        match self.watch.names() {
            Names::Same => return Ok(()),
            Names::Changed => {}
            Names::Unknown => match fs::metadata(self.place.path()) {
                Ok(now) if Identity::of(&now) == newest.identity => return Ok(()),
                Ok(_) => {}
                // Renamed, and the next one is not there yet; or all of it is removed.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(self.broken(&error)),
            },
        }
        self.extend()
    }

    /// Opens what is newer than the newest file that is known.
    fn extend(&mut self) -> Result<(), Fault> {
        let listed = self.list()?;
        // How many files were begun since the last time.
        let begun = self.watch.begun();
        let Some(newest) = self.files.back() else {
            return self.open_ahead(&listed);
        };
        let is_newest =
            |file: &Listed| file.identity == newest.identity || file.compressed && is_packed_from(file, &newest.file);
        // Few were begun since, so it is one of the last.
        let from = match (listed.iter().rposition(is_newest), begun) {
            (Some(at), _) => at + 1,
            _ if listed.is_empty() => 0,
            (None, Some(begun)) => {
                let begun = begun as usize;
                if begun > listed.len() {
                    self.trouble(Trouble::FilesMissing);
                }
                listed.len().saturating_sub(begun)
            }
            // The oldest is removed first: all that are there are newer, and the first of them may be the next one.
            (None, None) => {
                let written = written(&newest.file).map_err(|error| self.broken(&error))?;
                let oldest = listed.first().filter(|file| !file.compressed);
                let born = oldest.and_then(Listed::born);
                if born.is_none_or(|born| born - written > AT_ONCE) {
                    self.trouble(Trouble::FilesMissing);
                }
                0
            }
        };
        self.open_ahead(&listed[from..])
    }

    fn trouble(&mut self, trouble: Trouble) {
        // The worst is told.
        self.trouble = self.trouble.take().max(Some(trouble));
    }

    fn broken(&self, error: &io::Error) -> Fault {
        let text = format!("cannot read {}: {error}", self.place.path().display());
        Fault::Broken(Cause::new(text, "read_failed"))
    }

    /// One read of the file whose turn it is, of about `room` bytes at most. `None` at its end.
    fn read_on(&mut self, room: usize, out: &mut impl FnMut(Line<'_>)) -> io::Result<Option<usize>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut wanted = room.min(READ);
            loop {
                let Some(front) = self.files.front_mut() else {
                    return Ok(None);
                };
                let known = self.before.length;
                let into = &mut buffer.bytes[..known + wanted];
                let read = match &mut front.packed {
                    None => front.file.read_at(into, self.offset - known as u64)?,
                    Some(packed) => packed.fill(into, self.before.get())?,
                };
                let bytes = &buffer.bytes[..read];
                if !bytes.starts_with(self.before.get()) {
                    self.truncated(out)?;
                    continue;
                }
                let full = read == known + wanted;
                let new = &bytes[known..];
                if new.is_empty() {
                    return Ok(None);
                }
                let Self {
                    decoder,
                    marks,
                    trouble,
                    ..
                } = self;
                let mut take = |found: Found<'_>| match found {
                    Found::Line(line) => {
                        marks.lines += 1;
                        out(line);
                    }
                    Found::Damaged(damaged) => {
                        let told = Trouble::Damaged {
                            offset: damaged.offset,
                            bytes: damaged.bytes,
                        };
                        *trouble = trouble.take().max(Some(told));
                    }
                };
                let fed = decoder.feed(self.offset, new, &mut buffer.scratch, &mut take);
                if let Some(packed) = &mut front.packed {
                    packed.give_back(&new[fed.bytes..]);
                }
                if fed.bytes == 0 && full && wanted < LONGEST {
                    // A record that is longer than the read.
                    wanted = (4 * wanted).min(LONGEST);
                    let length = buffer.bytes.len().max(BEFORE + wanted);
                    buffer.bytes.resize(length, 0);
                    continue;
                }
                if fed.bytes == 0 {
                    return Ok(None);
                }
                self.offset += fed.bytes as u64;
                self.before.keep(&bytes[..known + fed.bytes]);
                if self.decoder.pending_since().is_none() && front.packed.is_none() {
                    self.marks.at(Mark::new(front.identity, self.offset, self.before.get()));
                }
                if buffer.bytes.len() > BEFORE + READ {
                    buffer.bytes.truncate(BEFORE + READ);
                    buffer.bytes.shrink_to_fit();
                }
                return Ok(Some(fed.bytes));
            }
        })
    }

    /// The file has not what it had before the offset: it was truncated, or written anew.
    fn truncated(&mut self, out: &mut impl FnMut(Line<'_>)) -> io::Result<()> {
        self.trouble(Trouble::Truncated);
        self.flush(out);
        self.before = Before::NOTHING;
        self.marks = Marks::default();
        self.offset = 0;
        if let Some(front) = self.files.front() {
            // Its writer can go on where it was, and leave a hole before that.
            self.offset = seek(&front.file, SeekFrom::Data(0)).unwrap_or(0);
        }
        Ok(())
    }

    /// What has begun and not ended never will.
    fn flush(&mut self, out: &mut impl FnMut(Line<'_>)) {
        self.decoder.finish(&mut |found| {
            if let Found::Line(line) = found {
                out(line);
            }
        });
    }

    /// The file that was read is whole, and the next one's turn has come.
    fn next_file(&mut self, out: &mut impl FnMut(Line<'_>)) -> io::Result<()> {
        let Some(ended) = self.files.pop_front() else {
            return Ok(());
        };
        let mut rest = Vec::new();
        match ended.packed {
            Some(packed) => rest = packed.bytes,
            None => {
                let left = ended
                    .file
                    .metadata()?
                    .len()
                    .saturating_sub(self.offset)
                    .min(LONGEST as u64);
                rest.resize(left as usize, 0);
                ended.file.read_exact_at(&mut rest, self.offset)?;
            }
        }
        let Self {
            decoder,
            marks,
            trouble,
            offset,
            ..
        } = self;
        let mut take = |found: Found<'_>| match found {
            Found::Line(line) => {
                marks.lines += 1;
                out(line);
            }
            Found::Damaged(damaged) => {
                let told = Trouble::Damaged {
                    offset: damaged.offset,
                    bytes: damaged.bytes,
                };
                *trouble = trouble.take().max(Some(told));
            }
        };
        BUFFER.with_borrow_mut(|buffer| decoder.end_file(*offset, &rest, &mut buffer.scratch, &mut take));
        self.offset = 0;
        self.before = Before::NOTHING;
        self.count_held();
        Ok(())
    }

    /// Shows how many bytes are on the disk for this stream alone, and gives up the oldest where that is too much.
    fn count_held(&mut self) {
        loop {
            let held = self.files.iter().map(Open::held).sum();
            let all = self.shared.hold(self.held, held);
            self.held = held;
            if all <= self.shared.most_held || self.files.len() < 2 {
                return;
            }
            self.files.pop_front();
            self.offset = 0;
            self.before = Before::NOTHING;
            self.decoder = self.shared.decoder(&self.place);
            self.trouble(Trouble::FilesMissing);
        }
    }

    /// Chooses how the log is looked at, by how busy it is. Tells whether it is to be looked at once more.
    fn adapt(&mut self, lines: u64, brought: bool) -> bool {
        if brought {
            self.heard = Instant::now();
            self.busy = if lines > 1 { self.busy + 1 } else { 0 };
            let is_busy = self.busy >= BUSY && self.place.keeps_files;
            // A second until the next look is enough for a driver to remove what nobody has read.
            if self.shared.rests && (is_busy || self.watch.is_unwatched()) {
                self.watch.heat();
            }
        } else if self.watch.is_hot() && self.heard.elapsed() > COOLS {
            self.busy = 0;
            self.watch.cool(&self.place.folder);
            return true;
        }
        false
    }
}

impl Log for FileStream {
    const HOLDS_UP: bool = false;

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: impl FnOnce(&mut Context<'_>) -> Poll<usize>,
        out: &mut impl FnMut(Line<'_>),
    ) -> Poll<Result<Progress, Fault>> {
        self.watch.register(cx.waker());
        // Also while there is no room: what the driver removes is open by then.
        self.look_for_newer()?;
        let room = ready!(room(cx));
        let mut last_look = false;
        loop {
            let mut lines = 0;
            let mut take = |line: Line<'_>| {
                lines += 1;
                out(line);
            };
            let read = self.read_on(room, &mut take).map_err(|error| self.broken(&error))?;
            let again = self.adapt(lines, read.is_some());
            if let Some(bytes) = read {
                return Poll::Ready(Ok(Progress::Read(bytes)));
            }
            if self.files.len() > 1 {
                self.next_file(out).map_err(|error| self.broken(&error))?;
                self.look_for_newer()?;
            } else if again {
                self.look_for_newer()?;
            } else if self.over && !std::mem::replace(&mut last_look, true) {
                // What the driver did last nobody may have told yet.
                if !self.removed {
                    self.extend()?;
                }
            } else if self.over {
                return Poll::Ready(Ok(Progress::Ended));
            } else {
                return Poll::Pending;
            }
        }
    }

    fn pending_since(&self) -> Option<Time> {
        self.decoder.pending_since()
    }

    fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), Fault> {
        self.flush(out);
        Ok(())
    }

    fn mark(&self) -> Option<Mark> {
        self.marks.settled
    }

    fn trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }
}

impl Drop for FileStream {
    fn drop(&mut self) {
        self.shared.hold(self.held, 0);
    }
}
