//! Which records of a batch are still to be sent, in which order. Pure.

use std::ops::Range;

/// Ranges of records, of which the last is the next. Together with what was settled they are the batch, and none overlap.
#[derive(Debug, Default)]
pub struct Parts {
    ranges: Vec<Range<usize>>,
    /// By number: whether the store will never take it. Empty while there is none.
    refused: Vec<bool>,
    records: usize,
}

impl Parts {
    /// Begins with a whole batch of so many records.
    pub(super) fn begin(&mut self, records: usize) {
        self.ranges.clear();
        self.refused.clear();
        self.records = records;
        self.add(0..records);
    }

    /// What is to be sent next.
    pub(super) fn next(&mut self) -> Option<Range<usize>> {
        self.ranges.pop()
    }

    /// To be sent next.
    pub(super) fn add(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.ranges.push(range);
        }
    }

    /// To be sent after all others.
    pub(super) fn add_last(&mut self, range: Range<usize>) {
        self.ranges.insert(0, range);
    }

    /// Whether nothing else is to be sent.
    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// To be sent in two requests, in order.
    pub(super) fn halve(&mut self, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.add(middle..range.end);
        self.add(range.start..middle);
    }

    /// The store will never take this record. Tells whether that is new.
    pub(super) fn refuse(&mut self, number: usize) -> bool {
        self.refused.resize(self.records, false);
        !std::mem::replace(&mut self.refused[number], true)
    }

    pub(super) fn is_refused(&self, number: usize) -> bool {
        self.refused.get(number) == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(parts: &mut Parts) -> Vec<Range<usize>> {
        std::iter::from_fn(|| parts.next()).collect()
    }

    #[test]
    fn halves_come_in_order_and_before_the_rest() {
        let mut parts = Parts::default();
        parts.begin(7);
        let whole = parts.next().unwrap();
        assert_eq!((whole.clone(), parts.is_empty()), (0..7, true));
        parts.halve(whole);
        let first = parts.next().unwrap();
        parts.halve(first);
        assert_eq!(all(&mut parts), [0..1, 1..3, 3..7]);
        parts.halve(0..1);
        assert_eq!(all(&mut parts), std::slice::from_ref(&(0..1)));
        parts.add(2..2);
        assert!(parts.is_empty());
        parts.begin(3);
        parts.add_last(8..9);
        assert_eq!(all(&mut parts), [0..3, 8..9]);
    }

    #[test]
    fn what_is_refused_is_refused_once_and_until_the_next_batch() {
        let mut parts = Parts::default();
        parts.begin(3);
        assert!(!parts.is_refused(2));
        assert!(parts.refuse(2) && !parts.refuse(2));
        assert!(parts.is_refused(2) && !parts.is_refused(1));
        parts.begin(3);
        assert!(!parts.is_refused(2));
    }
}
