//! Which lines have come, each by the mark that `line-writer` begins it with: `#CONTAINER.NUMBER.NANOSECONDS#`.
//!
//! The mark is found in whatever a follower writes around it: raw frames, a time, JSON.

use memchr::memchr;

/// A longer mark is none.
const LONGEST: usize = 64;

/// Counts what has come, and how late.
pub struct Tally {
    /// How often each line of each container has come, up to 255 times.
    seen: Vec<Vec<u8>>,
    pub distinct: u64,
    pub doubled: u64,
    /// Nanoseconds from the writing of a line to its being found here.
    pub latencies: Vec<u64>,
}

impl Tally {
    pub fn new(containers: usize, lines: usize) -> Self {
        Self {
            seen: vec![vec![0; lines]; containers],
            distinct: 0,
            doubled: 0,
            latencies: Vec::new(),
        }
    }

    pub fn missing(&self) -> u64 {
        let all: usize = self.seen.iter().map(Vec::len).sum();
        all as u64 - self.distinct
    }

    fn line(&mut self, container: usize, number: usize) {
        let Some(seen) = self.seen.get_mut(container).and_then(|lines| lines.get_mut(number)) else {
            return;
        };
        if *seen == 0 {
            self.distinct += 1;
        } else {
            self.doubled += 1;
        }
        *seen = seen.saturating_add(1);
    }

    /// Takes what came of one output at `now` (nanoseconds since 1970; without it no latency is noted). Gives how many
    /// bytes were looked at for good: the rest may be a mark's beginning, and is to be given again with what follows.
    pub fn take(&mut self, bytes: &[u8], now: Option<u64>) -> usize {
        let mut at = 0;
        while let Some(begin) = memchr(b'#', &bytes[at..]).map(|found| at + found) {
            let window = &bytes[begin + 1..];
            let window = &window[..window.len().min(LONGEST)];
            match memchr(b'#', window) {
                Some(end) => {
                    if let Some((container, number, written)) = parse(&window[..end]) {
                        self.line(container, number);
                        self.latencies.extend(now.map(|now| now.saturating_sub(written)));
                        at = begin + end + 2;
                    } else {
                        at = begin + 1;
                    }
                }
                None if window.len() < LONGEST => return begin,
                None => at = begin + 1,
            }
        }
        bytes.len()
    }
}

fn parse(mark: &[u8]) -> Option<(usize, usize, u64)> {
    let mut parts = std::str::from_utf8(mark).ok()?.split('.');
    let all = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    parts.next().is_none().then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_wherever_the_bytes_are_cut() {
        let text = b"{\"line\":\"#0.0.5#...\"}\n# no #mark#0.1.7#\n\x01\0\0\0\0\0\0\x23#1.2.9#..\n#1.2.9#\n";
        for cut in 0..text.len() {
            let mut tally = Tally::new(2, 3);
            let mut pending = text[..cut].to_vec();
            let done = tally.take(&pending, Some(10));
            pending.drain(..done);
            pending.extend_from_slice(&text[cut..]);
            assert_eq!(tally.take(&pending, Some(10)), pending.len(), "cut at {cut}");
            assert_eq!(
                (tally.distinct, tally.doubled, tally.missing()),
                (3, 1, 3),
                "cut at {cut}"
            );
            assert_eq!(tally.latencies, [5, 3, 1, 1]);
        }
    }

    /// The engine cuts it at 16 KiB: `curl` has a frame for each part, `docker logs` a time, and the agent the whole.
    #[test]
    fn a_line_in_parts_is_one_line() {
        let (mark, dots) = (b"#0.0.7#".as_slice(), [b'.'; 16 << 10]);
        let time = b"2026-11-20T15:04:58.662848374Z ".as_slice();
        let frame = b"\x01\0\0\0\0\0\x40\x23".as_slice();
        for before in [[frame, time].concat(), time.to_vec(), Vec::new()] {
            let first = [&before, mark, &dots].concat();
            let mut tally = Tally::new(1, 1);
            tally.take(&[first, before, dots.to_vec(), b"\n".to_vec()].concat(), None);
            assert_eq!((tally.distinct, tally.doubled), (1, 0));
        }
    }

    #[test]
    fn what_is_no_mark_is_not_counted() {
        let mut tally = Tally::new(1, 1);
        let long = [b"#".as_slice(), &[b'1'; 200], b"#0.7.1#9.0.1#0.0#0.0.0.0##"].concat();
        tally.take(&long, None);
        assert_eq!((tally.distinct, tally.missing()), (0, 1));
        assert!(tally.latencies.is_empty());
    }
}
