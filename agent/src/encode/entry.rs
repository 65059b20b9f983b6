//! A record as a store is told of it, and how a store's requests are written.

use super::span::{Span, Writing};
use crate::record::{Container, Stream, Time};

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The container that wrote it.
    pub container: &'a Container,
    /// The machine that the container runs on.
    pub host: &'a str,
    /// Its time.
    pub time: Time,
    /// The output that it was written to.
    pub stream: Stream,
    /// The record in JSON.
    pub text: &'a [u8],
    /// Where in it the line is.
    pub span: Span,
    /// Whether a part of it was cut off.
    pub truncated: bool,
    /// How many records before it are equal in all that a store keeps: it would take this one for a repetition.
    pub repeated: u32,
}

/// How a request is written: records that follow each other and have much in common make a group.
pub trait Encode {
    /// A group that is being written.
    type Group;

    /// Whether two records that follow each other are of one group.
    fn is_same_group(&self, one: &Entry<'_>, next: &Entry<'_>) -> bool;

    /// Begins the group that this record is the first of.
    fn begin(&self, first: &Entry<'_>, out: &mut Vec<u8>) -> Self::Group;

    /// Adds a record. Tells whether its line had to be cut.
    fn add(&self, entry: &Entry<'_>, out: &mut Vec<u8>) -> bool;

    /// Ends a group.
    fn end(&self, group: Self::Group, out: &mut Vec<u8>);
}

impl Entry<'_> {
    /// Whether both are of one container, as one machine's agent has seen it.
    pub(super) fn is_of_same_container(&self, other: &Self) -> bool {
        std::ptr::eq(self.container, other.container) && std::ptr::eq(self.host, other.host)
    }

    /// Whether the line is no text, and stands in the record in Base64.
    pub(super) fn is_binary(&self) -> bool {
        self.span.writing == Writing::Base64
    }
}

/// How many bytes of a text are whole characters, of `most` at most.
pub(super) fn whole(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let is_boundary = |at: &usize| text[*at] & 0xc0 != 0x80;
    (0..=most).rev().find(is_boundary).unwrap_or_default()
}
