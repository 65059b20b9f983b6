//! The spool itself: batches in, in order, and out again, across restarts. All of it blocks.
//!
//! ```text
//!      cursor                       end
//!  ──────┬───────┬─────────┬─────────┬──►  records, by number
//!  gone  │ lent  │         │         │
//!        └───────┴─────────┴─────────┘
//!        one frame for each batch, in segments
//! ```
//!
//! Each frame bears the number of its first record. So what is missing between two frames is known to the record, and so is a
//! frame that was written twice.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::mem::take;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::super::account::Named;
use super::super::batch::Records;
use super::cursor::{Cursor, Cursors};
use super::folder::Folder;
use super::frame::Writer;
use super::options::Limits;
use super::segment::{Found, header, step};
use crate::record::Time;

/// A file of the spool.
#[derive(Debug)]
struct Segment {
    /// The number of its first record, and its name.
    start: u64,
    /// How many bytes count.
    bytes: u64,
    /// Something in it is not sound.
    is_damaged: bool,
}

/// Why records were not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// There is no room for them.
    Full,
    /// The disk does not take them.
    Failed(io::Error),
}

/// What a spool could not keep, since that was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// Damaged places in segments.
    pub(super) places: u64,
    /// Damaged cursors.
    pub(super) cursors: u64,
    /// Records that were there once.
    pub(super) records: u64,
    /// Records that became too old.
    pub(super) aged: u64,
}

/// One sink's spool.
#[derive(Debug)]
pub(super) struct Spool {
    folder: Folder,
    limits: Limits,
    segments: VecDeque<Segment>,
    /// The number of the record that comes next.
    end: u64,
    /// The last segment while it is written to, what of it is on the disk for certain, and the number behind that.
    tail: Option<File>,
    synced: (u64, u64),
    cursors: Cursors,
    cursor: Cursor,
    /// Where the cursor goes once what was lent is delivered.
    lent: Option<Cursor>,
    /// The segment that is read.
    open: Option<(u64, File)>,
    writer: Writer,
    lost: Lost,
    /// The lines of each container that became too old.
    aged: Named,
}

impl Spool {
    /// Goes on with what is there. Of the segments only the last is read.
    pub(super) fn open(path: &Path, limits: Limits) -> io::Result<Self> {
        let folder = Folder::open(path)?;
        let (mut cursors, loaded) = Cursors::load(folder.cursor()?)?;
        let mut lost = Lost {
            cursors: u64::from(loaded.is_damaged),
            ..Lost::default()
        };
        let mut segments = VecDeque::new();
        for start in folder.segments()? {
            let bytes = folder.read(start)?.metadata()?.len();
            segments.push_back(Segment {
                start,
                bytes,
                is_damaged: false,
            });
        }
        let mut end = segments.back().map_or(0, |last: &Segment| last.start);
        if let Some(last) = segments.back() {
            let file = folder.read(last.start)?;
            let (mut at, mut is_empty) = (0, true);
            while at < last.bytes {
                let (found, next) = step(&file, at, last.bytes)?;
                if let Found::Frame(header, _) = found {
                    end = end.max(header.end());
                    is_empty = false;
                }
                at = next;
            }
            if is_empty {
                // The next one may have its name.
                lost.places += u64::from(last.bytes > 0);
                folder.set_aside(last.start)?;
                segments.pop_back();
            }
        }
        let first = segments.front().map_or(end, |first| first.start);
        let cursor = loaded.cursor.unwrap_or(Cursor {
            record: first,
            segment: first,
            offset: 0,
        });
        if loaded.cursor.is_none() || loaded.is_damaged {
            cursors.begin(cursor)?;
        }
        let mut spool = Self {
            folder,
            limits,
            segments,
            // What was delivered is never counted again, even where nothing of it is there.
            end: end.max(cursor.record),
            tail: None,
            synced: (0, 0),
            cursors,
            cursor,
            lent: None,
            open: None,
            writer: Writer::default(),
            lost,
            aged: Named::new(),
        };
        spool.tidy();
        Ok(spool)
    }

    /// The number of the record that comes next.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Records that are not delivered.
    pub(super) fn records(&self) -> u64 {
        self.end - self.cursor.record
    }

    /// Records that were not even lent.
    pub(super) fn unread(&self) -> u64 {
        self.end - self.lent.unwrap_or(self.cursor).record
    }

    /// What it takes of the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The time of the first record that is not delivered.
    pub(super) fn oldest(&mut self) -> Option<Time> {
        let (at, segment) = self.place(self.cursor)?;
        let end = self.segments[segment].bytes;
        let file = self.reading(segment).ok()?;
        header(file, at.offset, end).ok().flatten().map(|header| header.time)
    }

    /// Lends the records from this number on that are still there, and are sound.
    pub(super) fn look_back(&mut self, from: u64, mut lend: impl FnMut(&Records)) -> io::Result<()> {
        // A segment begins where the one before it ends.
        let first = self
            .segments
            .partition_point(|segment| segment.start <= from)
            .saturating_sub(1);
        for number in first..self.segments.len() {
            let (mut at, end) = (0, self.segments[number].bytes);
            while at < end {
                let (found, next) = step(self.reading(number)?, at, end)?;
                if let Found::Frame(header, payload) = found
                    && header.first >= from
                    && let Some(records) = header.records(&payload)
                {
                    lend(&records);
                }
                at = next;
            }
        }
        Ok(())
    }

    /// What was lost since this was asked last.
    pub(super) fn take_lost(&mut self) -> Lost {
        take(&mut self.lost)
    }

    /// How many lines of each container became too old since this was asked last.
    pub(super) fn take_aged(&mut self) -> Named {
        take(&mut self.aged)
    }

    /// Adds a batch behind all others. It is safe once [`Spool::commit`] has succeeded. Gives what [`Spool::lend`] wants.
    pub(super) fn append(&mut self, records: &Records, now: Time) -> Result<Cursor, Refused> {
        let used = self.bytes();
        let frame = self.writer.frame(self.end, records, now);
        let size = frame.len() as u64;
        // One that is larger than all of the spool would never find room.
        if used > 0 && used + size > self.limits.max_bytes {
            return Err(Refused::Full);
        }
        let is_over = |last: &Segment| last.bytes > 0 && last.bytes + size > self.limits.segment_bytes;
        if self.tail.is_some() && self.segments.back().is_some_and(is_over) {
            self.commit().map_err(Refused::Failed)?;
            self.tail = None;
        }
        self.write(size).map_err(Refused::Failed)?;
        self.end += records.len() as u64;
        let last = self.segments.back();
        Ok(Cursor {
            record: self.end,
            segment: last.map_or(0, |last| last.start),
            offset: last.map_or(0, |last| last.bytes),
        })
    }

    /// Writes the frame that was made last, of so many bytes.
    fn write(&mut self, size: u64) -> io::Result<()> {
        if self.tail.is_none() {
            if self.segments.back().is_some_and(|last| last.start == self.end) {
                // Nothing in it counts.
                self.segments.pop_back();
            }
            let file = self.folder.create(self.end)?;
            self.segments.push_back(Segment {
                start: self.end,
                bytes: 0,
                is_damaged: false,
            });
            self.tail = Some(file);
            self.synced = (0, self.end);
            self.open = None;
        }
        let (Some(file), Some(last)) = (&self.tail, self.segments.back_mut()) else {
            return Ok(());
        };
        match file.write_all_at(self.writer.last(), last.bytes) {
            Ok(()) => {
                last.bytes += size;
                Ok(())
            }
            Err(error) => {
                // What was written of it is written over, or is nothing behind the end.
                let _ = file.set_len(last.bytes);
                Err(error)
            }
        }
    }

    /// Waits until all that was added is on the disk. If it fails, nothing that was added since it succeeded is in the spool.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let (Some(file), Some(last)) = (&self.tail, self.segments.back_mut()) else {
            return Ok(());
        };
        if last.bytes == self.synced.0 {
            return Ok(());
        }
        match file.sync_data() {
            Ok(()) => {
                self.synced = (last.bytes, self.end);
                Ok(())
            }
            Err(error) => {
                // The kernel may have dropped what it could not write, so nothing more is written to this file.
                (last.bytes, self.end) = self.synced;
                let _ = file.set_len(last.bytes);
                self.tail = None;
                Err(error)
            }
        }
    }

    /// Gives back the memory that adding takes.
    pub(super) fn rest(&mut self) {
        self.writer.rest();
    }

    /// What was added first is lent already, to this place.
    pub(super) fn lend(&mut self, to: Cursor) {
        self.lent = Some(to);
    }

    /// Lends the next batch, or the same one again if it was not delivered. Steps over what is not sound, and what is too old.
    pub(super) fn read(&mut self, now: Time) -> io::Result<Option<Records>> {
        self.lent = None;
        while let Some((at, segment)) = self.place(self.cursor) {
            self.cursor = at;
            let end = self.segments[segment].bytes;
            let (found, next) = step(self.reading(segment)?, at.offset, end)?;
            let mut after = Cursor { offset: next, ..at };
            let (header, payload) = match found {
                Found::Frame(header, payload) => (header, payload),
                Found::Unsound | Found::Torn => {
                    self.damaged(segment);
                    self.cursor = after;
                    continue;
                }
            };
            if header.end() <= self.cursor.record {
                self.cursor = after;
                continue;
            }
            let Some(mut records) = header.records(&payload) else {
                self.damaged(segment);
                self.cursor = after;
                continue;
            };
            self.miss_until(header.first);
            after.record = header.end();
            if header.spooled < now.before(self.limits.max_age) {
                self.lost.aged += u64::from(header.records);
                note(&records, &mut self.aged);
                self.cursor = after;
                continue;
            }
            while records.text().len() < self.limits.together
                && let Some((more, behind)) = self.following(after)
            {
                records.append(more);
                after = behind;
            }
            self.lent = Some(after);
            return Ok(Some(records));
        }
        self.miss_until(self.end);
        let _ = self.keep_cursor();
        Ok(None)
    }

    /// The frame at this place and the place behind it, if it is sound and nothing is missing before it.
    fn following(&mut self, from: Cursor) -> Option<(Records, Cursor)> {
        let (at, segment) = self.place(from)?;
        let end = self.segments[segment].bytes;
        let (found, next) = step(self.reading(segment).ok()?, at.offset, end).ok()?;
        let Found::Frame(header, payload) = found else {
            return None;
        };
        if header.first != at.record {
            return None;
        }
        let behind = Cursor {
            record: header.end(),
            offset: next,
            ..at
        };
        Some((header.records(&payload)?, behind))
    }

    /// What was lent is delivered.
    pub(super) fn done(&mut self) -> io::Result<()> {
        if let Some(to) = self.lent.take() {
            self.cursor = to;
        }
        self.keep_cursor()
    }

    /// Makes room by dropping the oldest segment, and what was lent of it. Tells how many records that were, and how many lines
    /// of each container.
    pub(super) fn drop_oldest(&mut self) -> (u64, Named) {
        let before = self.cursor.record;
        self.lent = None;
        let named = self.oldest_lines();
        let current = self.place(self.cursor).map_or(0, |(_, segment)| segment);
        self.cursor = match self.segments.get(current + 1) {
            Some(next) => Cursor {
                record: next.start.max(before),
                segment: next.start,
                offset: 0,
            },
            None => {
                self.tail = None;
                Cursor {
                    record: self.end,
                    segment: self.segments.back().map_or(self.end, |last| last.start),
                    offset: u64::MAX,
                }
            }
        };
        let _ = self.keep_cursor();
        (self.cursor.record - before, named)
    }

    /// The lines of each container from the cursor to the end of its segment, as far as that is sound.
    fn oldest_lines(&mut self) -> Named {
        let mut named = Named::new();
        let Some((from, segment)) = self.place(self.cursor) else {
            return named;
        };
        let (mut at, end) = (from.offset, self.segments[segment].bytes);
        while at < end
            && let Ok(file) = self.reading(segment)
            && let Ok((found, next)) = step(file, at, end)
        {
            if let Found::Frame(header, payload) = found
                && header.end() > from.record
                && let Some(records) = header.records(&payload)
            {
                note(&records, &mut named);
            }
            at = next;
        }
        named
    }

    fn keep_cursor(&mut self) -> io::Result<()> {
        self.cursors.save(self.cursor)?;
        self.tidy();
        Ok(())
    }

    /// Where the next frame is, and in which of the segments. `None` behind the last.
    fn place(&self, from: Cursor) -> Option<(Cursor, usize)> {
        let mut number = self.segments.partition_point(|segment| segment.start < from.segment);
        let mut offset = match self.segments.get(number) {
            Some(segment) if segment.start == from.segment => from.offset,
            _ => 0,
        };
        while offset >= self.segments.get(number)?.bytes {
            (number, offset) = (number + 1, 0);
        }
        // What is missing between the two was never there, or is noticed by the next frame's number.
        let at = Cursor {
            segment: self.segments[number].start,
            offset,
            ..from
        };
        Some((at, number))
    }

    fn reading(&mut self, number: usize) -> io::Result<&File> {
        let start = self.segments[number].start;
        if self.open.as_ref().is_none_or(|(open, _)| *open != start) {
            self.open = None;
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => (start, self.folder.read(start)?),
        };
        Ok(&self.open.insert(open).1)
    }

    fn damaged(&mut self, segment: usize) {
        self.lost.places += 1;
        self.segments[segment].is_damaged = true;
    }

    /// The records up to this one are not to be found.
    fn miss_until(&mut self, record: u64) {
        let missing = record.saturating_sub(self.cursor.record);
        self.lost.records += missing;
        self.cursor.record += missing;
    }

    /// Removes what is delivered, once the disk has the cursor behind it.
    fn tidy(&mut self) {
        let is_drained = self.records() == 0 && self.lent.is_none();
        let place = self.place(self.cursor).map(|(_, segment)| segment);
        let gone = place.unwrap_or(if is_drained { self.segments.len() } else { 0 });
        if gone == 0 || self.cursors.sync().is_err() {
            return;
        }
        for segment in self.segments.drain(..gone) {
            // One that stays is found to be delivered by the next start.
            let _ = match segment.is_damaged {
                true => self.folder.set_aside(segment.start),
                false => self.folder.remove(segment.start),
            };
        }
        if self.segments.is_empty() {
            self.tail = None;
        }
        self.open = None;
    }
}

/// Adds the lines of each container.
fn note(records: &Records, named: &mut Named) {
    records.lines_of(0..records.len(), |id, lines| {
        *named.entry(id.clone()).or_default() += lines;
    });
}

#[cfg(test)]
mod tests;
