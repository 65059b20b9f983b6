//! Bytes of a log response's body to whole lines: transfer coding, then framing, then lines,
//! each in place. Pure: it can be fed from anywhere, cut anywhere.

use super::chunked::Chunked;
use super::error::DecodeError;
use super::frame::Frames;
use super::lines::Lines;
use crate::record::{Line, Time};

/// How the body's end is told (RFC 9112, section 6.3).
#[derive(Debug)]
pub enum Transfer {
    /// By chunks, of which the last one is empty.
    Chunked(Chunked),
    /// Bytes that are still to come.
    Length(u64),
    /// The body ends with the connection, so a cut cannot be told from the end.
    UntilClose,
}

/// How the body tells stdout from stderr.
#[derive(Debug)]
enum Framing {
    /// Before the first byte. Below API 1.42 no header says which it will be, but with
    /// timestamps a raw stream starts with a digit and a frame with its type, 0 to 3. So no
    /// request is spent on `Config.Tty`, and the time that it takes is not lost: a container
    /// that lives a moment can be gone by then.
    Unknown,
    Multiplexed(Frames),
    Tty,
}

/// Decodes the body of one response of the logs endpoint.
#[derive(Debug)]
pub struct Decoder {
    transfer: Transfer,
    framing: Framing,
    lines: Lines,
}

impl Decoder {
    /// Lines longer than `max_line_bytes` are cut there.
    pub fn new(transfer: Transfer, max_line_bytes: usize) -> Self {
        Self {
            transfer,
            framing: Framing::Unknown,
            lines: Lines::new(max_line_bytes),
        }
    }

    /// Takes bytes as they came from the socket, and lends each line that they complete.
    pub fn feed(&mut self, mut input: &[u8], out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        while let Some(body) = self.body(&mut input)? {
            self.frames(body, out)?;
        }
        Ok(())
    }

    /// Whether the peer has ended the body itself, between two messages. A body without
    /// chunks or length ends with its connection.
    pub fn is_complete(&self) -> bool {
        let ended = self.has_ended() || matches!(self.transfer, Transfer::UntilClose);
        let between = match &self.framing {
            Framing::Multiplexed(frames) => frames.at_boundary(),
            Framing::Unknown | Framing::Tty => true,
        };
        ended && between
    }

    /// Whether nothing more can come, even while the connection is open.
    pub fn has_ended(&self) -> bool {
        match &self.transfer {
            Transfer::Chunked(chunked) => chunked.is_done(),
            Transfer::Length(left) => *left == 0,
            Transfer::UntilClose => false,
        }
    }

    /// The earliest time of a line that has begun and not ended.
    pub fn pending_since(&self) -> Option<Time> {
        self.lines.pending_since()
    }

    /// Lends the lines that never got their line feed: the container has ended.
    pub fn finish(&mut self, out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        let tty = matches!(self.framing, Framing::Tty);
        self.lines.finish(tty, out)
    }

    fn body<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
        match &mut self.transfer {
            Transfer::Chunked(chunked) => chunked.next(input),
            Transfer::Length(left) => {
                let take = usize::try_from(*left).map_or(input.len(), |n| n.min(input.len()));
                let (body, rest) = input.split_at(take);
                *input = rest;
                *left -= take as u64;
                Ok((!body.is_empty()).then_some(body))
            }
            Transfer::UntilClose => {
                let body = std::mem::take(input);
                Ok((!body.is_empty()).then_some(body))
            }
        }
    }

    fn frames(&mut self, mut body: &[u8], out: &mut impl FnMut(Line<'_>)) -> Result<(), DecodeError> {
        if let (Framing::Unknown, Some(&first)) = (&self.framing, body.first()) {
            self.framing = match first {
                0..=3 => Framing::Multiplexed(Frames::default()),
                // A time, or the engine's own "Error grabbing logs".
                b'0'..=b'9' | b'E' => Framing::Tty,
                other => return Err(DecodeError::NotALog(other)),
            };
        }
        match &mut self.framing {
            Framing::Unknown => Ok(()),
            Framing::Tty => self.lines.raw(body, out),
            Framing::Multiplexed(frames) => {
                while let Some(piece) = frames.next(&mut body)? {
                    self.lines.frame(piece, out)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Stream;

    const T1: &str = "2026-11-20T15:04:58.000000001Z";
    const T2: &str = "2026-11-20T15:04:58.000000002Z";
    const MAX: usize = 1 << 20;

    fn frame(kind: u8, time: &str, text: &[u8]) -> Vec<u8> {
        let payload = [time.as_bytes(), b" ", text].concat();
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 0, 0], &length[..], &payload].concat()
    }

    fn chunk(body: &[u8]) -> Vec<u8> {
        [format!("{:x}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat()
    }

    type Got = (i64, Stream, Vec<u8>, bool);

    /// Decodes `wire` in pieces that end at `cuts`, and finishes.
    fn decode(transfer: Transfer, wire: &[u8], cuts: &[usize], max: usize) -> Vec<Got> {
        let mut decoder = Decoder::new(transfer, max);
        let mut got = Vec::new();
        let mut out = |line: Line<'_>| {
            let nanos = line.time.0 % 1_000_000_000;
            got.push((nanos, line.stream, line.bytes.to_vec(), line.truncated));
        };
        let mut from = 0;
        for &cut in cuts.iter().chain([&wire.len()]) {
            decoder.feed(&wire[from..cut], &mut out).unwrap();
            from = cut;
        }
        assert!(decoder.is_complete());
        decoder.finish(&mut out).unwrap();
        got
    }

    fn multiplexed() -> (Vec<u8>, Vec<Got>) {
        let long: Vec<u8> = (0..40_000_u32).map(|i| b'a' + (i % 26) as u8).collect();
        let frames = [
            frame(1, T1, b"short\n"),
            frame(1, T1, &long[..16384]),
            frame(2, T2, b"between\n"),
            frame(1, T1, &long[16384..32768]),
            frame(1, T1, &[&long[32768..], b"\n"].concat()),
            frame(1, T1, b"\n"),
            frame(2, T2, b"no end"),
        ];
        let mut wire: Vec<u8> = frames.iter().flat_map(|f| chunk(f)).collect();
        wire.extend(b"0\r\n\r\n");
        let want = vec![
            (1, Stream::Stdout, b"short".to_vec(), false),
            (2, Stream::Stderr, b"between".to_vec(), false),
            (1, Stream::Stdout, long, false),
            (1, Stream::Stdout, vec![], false),
            (2, Stream::Stderr, b"no end".to_vec(), false),
        ];
        (wire, want)
    }

    #[test]
    fn parts_merge_per_stream_wherever_they_are_cut() {
        let (wire, want) = multiplexed();
        for cut in (0..200).chain(16_300..16_900).chain(wire.len() - 120..wire.len()) {
            let got = decode(Transfer::Chunked(Chunked::default()), &wire, &[cut], MAX);
            assert!(got == want, "cut at {cut}");
        }
        let every: Vec<usize> = (0..wire.len()).collect();
        let got = decode(Transfer::Chunked(Chunked::default()), &wire, &every, MAX);
        assert!(got == want);
    }

    #[test]
    fn an_unterminated_line_of_an_earlier_run_ends_at_the_next_time() {
        let wire = [frame(1, T1, b"half"), frame(1, T2, b"next\n")].concat();
        let got = decode(Transfer::UntilClose, &wire, &[], MAX);
        let want = [
            (1, Stream::Stdout, b"half".to_vec(), false),
            (2, Stream::Stdout, b"next".to_vec(), false),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_long_line_is_cut_and_says_so() {
        let wire = [
            frame(1, T1, &[b'x'; 100]),
            frame(1, T1, b"tail\n"),
            frame(1, T2, &[&[b'y'; 64][..], b"\n"].concat()),
            frame(1, T2, &[&[b'z'; 65][..], b"\n"].concat()),
        ]
        .concat();
        for cuts in [vec![], (0..wire.len()).collect()] {
            let got = decode(Transfer::UntilClose, &wire, &cuts, 64);
            let want = [
                (1, Stream::Stdout, vec![b'x'; 64], true),
                (2, Stream::Stdout, vec![b'y'; 64], false),
                (2, Stream::Stdout, vec![b'z'; 64], true),
            ];
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_tty_is_told_by_its_first_byte_and_its_parts_merge() {
        let long = vec![b'l'; 16_384];
        let own_time = b"printed 2026-11-20T15:04:57.000000001Z itself\r\n";
        let wire = [
            T1.as_bytes(),
            b" first\r\n",
            T1.as_bytes(),
            b" ",
            &long,
            T1.as_bytes(),
            b" tail\r\n",
            T1.as_bytes(),
            b" ",
            own_time,
            T1.as_bytes(),
            b" no end",
            T2.as_bytes(),
            b" restarted\r\n",
            T2.as_bytes(),
            b" last",
        ]
        .concat();
        let want = [
            (1, Stream::Stdout, b"first".to_vec(), false),
            (1, Stream::Stdout, [&long[..], b"tail"].concat(), false),
            (1, Stream::Stdout, own_time[..own_time.len() - 2].to_vec(), false),
            (1, Stream::Stdout, b"no end".to_vec(), false),
            (2, Stream::Stdout, b"restarted".to_vec(), false),
            (2, Stream::Stdout, b"last".to_vec(), false),
        ];
        for cuts in [vec![], (0..wire.len()).collect(), vec![5, 16_500]] {
            let got = decode(Transfer::UntilClose, &wire, &cuts, MAX);
            assert!(got == want, "{got:?}");
        }
    }

    /// json-file writes U+FFFD, which is three bytes, for each byte that is not UTF-8; journald gives each part a time of its own.
    #[test]
    fn parts_of_a_ttys_line_may_be_longer_than_they_were_cut_and_bear_later_times() {
        let odd = "\u{fffd}".repeat(16_384).into_bytes();
        for part in [16_384, 16_388, odd.len()] {
            for next in [T1, T2] {
                let wire = [T1.as_bytes(), b" ", &odd[..part], next.as_bytes(), b" tail\r\n"].concat();
                let got = decode(Transfer::UntilClose, &wire, &[], 1 << 20);
                let line = [&odd[..part], b"tail"].concat();
                assert!(got == [(1, Stream::Stdout, line, false)], "{part} {next}");
            }
        }
    }

    #[test]
    fn the_engines_own_error_is_no_line_of_a_tty() {
        const ERROR: &str = "Error grabbing logs: unexpected EOF";
        let decoded = |wire: &str, cut: usize| {
            let mut decoder = Decoder::new(Transfer::UntilClose, MAX);
            let mut lines = Vec::new();
            let mut out = |line: Line<'_>| lines.push(String::from_utf8_lossy(line.bytes).into_owned());
            let (head, rest) = wire.as_bytes().split_at(cut);
            let fed = decoder.feed(head, &mut out).and_then(|()| decoder.feed(rest, &mut out));
            let ended = fed.and_then(|()| decoder.finish(&mut out));
            (lines, ended)
        };
        let error = || Err(DecodeError::Engine(ERROR.to_owned()));
        for cut in 0..ERROR.len() {
            for end in ["\n", ""] {
                assert_eq!(decoded(&format!("{ERROR}{end}"), cut), (vec![], error()));
                let behind = format!("{T1} hello\r\n{ERROR}{end}");
                assert_eq!(decoded(&behind, cut), (vec!["hello".to_owned()], error()));
            }
            // A container's own words have a time before them.
            let said = format!("{T1} {ERROR}\r\n");
            assert_eq!(decoded(&said, cut), (vec![ERROR.to_owned()], Ok(())));
        }
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let refuse = |wire: &[u8]| {
            let mut decoder = Decoder::new(Transfer::UntilClose, MAX);
            decoder.feed(wire, &mut |_| {}).unwrap_err()
        };
        assert_eq!(refuse(b"<html>"), DecodeError::NotALog(b'<'));
        assert!(matches!(refuse(&frame(1, "yesterday", b"x\n")), DecodeError::NoTime(_)));
        assert!(matches!(refuse(b"1 2 3\n"), DecodeError::NoTime(_)));
        let mut engine = vec![3, 0, 0, 0, 0, 0, 0, 13];
        engine.extend(b"disk on fire\n");
        assert_eq!(refuse(&engine), DecodeError::Engine("disk on fire".into()));
    }

    #[test]
    fn pending_time_is_that_of_the_first_part() {
        let mut decoder = Decoder::new(Transfer::UntilClose, MAX);
        assert_eq!(decoder.pending_since(), None);
        let wire = [frame(1, T1, b"part"), frame(2, T2, b"whole\n")].concat();
        decoder.feed(&wire, &mut |_| {}).unwrap();
        assert_eq!(decoder.pending_since().unwrap().0 % 1_000_000_000, 1);
        decoder.feed(&frame(1, T1, b" end\n"), &mut |_| {}).unwrap();
        assert_eq!(decoder.pending_since(), None);
    }
}
