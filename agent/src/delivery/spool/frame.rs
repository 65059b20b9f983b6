//! One batch in a segment: a header of 48 bytes with a checksum of its own, and the records, compressed.
//!
//! ```text
//!  0  magic    8 first    16 records  20 length  24 spooled  32 time  40 checksum    44 checksum
//!                                                                        of payload     of header
//! ```
//!
//! The magic has bytes that no text in UTF-8 has. So nothing that a container writes looks like a header, and behind a damaged
//! place the next frame is found by its magic.

use super::super::batch::Records;
use crate::record::Time;

pub(super) const MAGIC: [u8; 8] = [0xff, b'l', b'c', b's', 0xfe, 1, 0xf5, 0];
pub(super) const HEADER: usize = 48;
/// No batch is as large. It bounds what a payload may say of itself.
const LARGEST: usize = 1 << 30;

/// What is known of a frame without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The number of its first record.
    pub first: u64,
    /// How many records it has.
    pub records: u32,
    /// The bytes behind the header.
    pub length: u32,
    /// When it was written.
    pub spooled: Time,
    /// The time of its first record.
    pub time: Time,
    checksum: u32,
}

impl Header {
    /// The number behind that of its last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.records))
    }

    /// The header and its payload.
    pub(super) fn size(&self) -> u64 {
        HEADER as u64 + u64::from(self.length)
    }

    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.first.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.spooled.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.time.0.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` for what is no sound header.
    pub(super) fn from_bytes(bytes: &[u8; HEADER]) -> Option<Self> {
        if bytes[..8] != MAGIC || crc32fast::hash(&bytes[..44]) != number(&bytes[44..]) as u32 {
            return None;
        }
        Some(Self {
            first: number(&bytes[8..16]),
            records: number(&bytes[16..20]) as u32,
            length: number(&bytes[20..24]) as u32,
            spooled: Time(number(&bytes[24..32]) as i64),
            time: Time(number(&bytes[32..40]) as i64),
            checksum: number(&bytes[40..44]) as u32,
        })
    }

    /// The records of this frame; `None` if the payload is not what was written.
    pub(super) fn records(&self, payload: &[u8]) -> Option<Records> {
        if crc32fast::hash(payload) != self.checksum || snap::raw::decompress_len(payload).ok()? > LARGEST {
            return None;
        }
        let plain = snap::raw::Decoder::new().decompress_vec(payload).ok()?;
        let records = Records::thaw(&plain)?;
        (records.len() == self.records as usize).then_some(records)
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte))
}

/// Makes frames.
#[derive(Debug, Default)]
pub(super) struct Writer {
    plain: Vec<u8>,
    frame: Vec<u8>,
}

impl Writer {
    /// The frame of these records, of which the first has the number `first`.
    pub(super) fn frame(&mut self, first: u64, records: &Records, now: Time) -> &[u8] {
        self.plain.clear();
        records.freeze(&mut self.plain);
        self.frame.clear();
        self.frame
            .resize(HEADER + snap::raw::max_compress_len(self.plain.len()), 0);
        // It fails only for more than 4 GiB, or without room.
        let compressed = snap::raw::Encoder::new().compress(&self.plain, &mut self.frame[HEADER..]);
        let length = compressed.unwrap_or_default();
        self.frame.truncate(HEADER + length);
        let header = Header {
            first,
            records: records.len() as u32,
            length: length as u32,
            spooled: now,
            time: records.first_time().unwrap_or(now),
            checksum: crc32fast::hash(&self.frame[HEADER..]),
        };
        self.frame[..HEADER].copy_from_slice(&header.to_bytes());
        &self.frame
    }

    /// The frame that was made last.
    pub(super) fn last(&self) -> &[u8] {
        &self.frame
    }

    /// Gives back the room: a spool mostly rests.
    pub(super) fn rest(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::{Written, records};
    use super::*;

    #[test]
    fn no_byte_of_a_frame_can_change_unnoticed() {
        let written = [Written("web", 7, "one"), Written("web", 8, "two")];
        let frame = Writer::default().frame(40, &records(&written), Time(9)).to_vec();
        let read = |frame: &[u8]| {
            let header = Header::from_bytes(frame[..HEADER].try_into().unwrap())?;
            let records = header.records(&frame[HEADER..])?;
            Some((header, records.text().to_vec()))
        };
        let (header, text) = read(&frame).unwrap();
        assert_eq!(
            (header.first, header.end(), header.size()),
            (40, 42, frame.len() as u64)
        );
        assert_eq!((header.spooled, header.time), (Time(9), Time(7)));
        assert_eq!(text, records(&written).text());
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                assert!(read(&changed).is_none(), "byte {at}, bit {bit}");
            }
        }
    }
}
