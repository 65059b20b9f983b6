//! The engine's multiplexed stream (`api/pkg/stdcopy` in moby/moby): frames of
//! `[type, 0, 0, 0, length as big-endian u32]` and then that many bytes.

use super::error::DecodeError;

/// A frame's type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The container's standard input. No engine sends it.
    Stdin,
    /// The container's standard output.
    Stdout,
    /// The container's standard error.
    Stderr,
    /// An error text of the engine itself, without a time, after a head that said 200.
    SystemError,
}

/// A stretch of one frame's payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub kind: Kind,
    pub bytes: &'a [u8],
    pub starts_frame: bool,
    pub ends_frame: bool,
}

const HEADER: usize = 8;

/// Splits a body into frames, whatever the boundaries at which it arrives.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    header: [u8; HEADER],
    /// Header bytes present; a whole header means that a frame is open.
    filled: usize,
    remaining: usize,
    started: bool,
}

impl Frames {
    /// The next stretch of payload, or `None` when `input` is used up.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, DecodeError> {
        if self.filled < HEADER && !self.read_header(input)? {
            return Ok(None);
        }
        if input.is_empty() && self.remaining > 0 {
            return Ok(None);
        }
        let (bytes, rest) = input.split_at(self.remaining.min(input.len()));
        *input = rest;
        self.remaining -= bytes.len();
        let piece = Piece {
            kind: kind(self.header[0])?,
            bytes,
            starts_frame: !self.started,
            ends_frame: self.remaining == 0,
        };
        self.started = true;
        if piece.ends_frame {
            self.filled = 0;
            self.started = false;
        }
        Ok(Some(piece))
    }

    /// Whether the body stands between two frames.
    pub fn at_boundary(&self) -> bool {
        self.filled == 0
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Result<bool, DecodeError> {
        let take = (HEADER - self.filled).min(input.len());
        let (part, rest) = input.split_at(take);
        self.header[self.filled..self.filled + take].copy_from_slice(part);
        self.filled += take;
        *input = rest;
        if self.filled < HEADER {
            return Ok(false);
        }
        let [_, a, b, c, length @ ..] = self.header;
        kind(self.header[0])?;
        if [a, b, c] != [0; 3] {
            return Err(DecodeError::Frame(self.header));
        }
        self.remaining = u32::from_be_bytes(length) as usize;
        Ok(true)
    }
}

fn kind(byte: u8) -> Result<Kind, DecodeError> {
    match byte {
        0 => Ok(Kind::Stdin),
        1 => Ok(Kind::Stdout),
        2 => Ok(Kind::Stderr),
        3 => Ok(Kind::SystemError),
        other => Err(DecodeError::Frame([other, 0, 0, 0, 0, 0, 0, 0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire() -> Vec<u8> {
        let mut wire = vec![1, 0, 0, 0, 0, 0, 0, 3];
        wire.extend(b"abc");
        wire.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        wire.extend([1, 0, 0, 0, 0, 0, 0, 2]);
        wire.extend(b"de");
        wire
    }

    #[test]
    fn split_anywhere() {
        let wire = wire();
        for cut in 0..wire.len() {
            let mut frames = Frames::default();
            let mut got = Vec::new();
            let mut ended = 0;
            for mut part in [&wire[..cut], &wire[cut..]] {
                while let Some(piece) = frames.next(&mut part).unwrap() {
                    if piece.starts_frame {
                        got.push((piece.kind, Vec::new()));
                    }
                    got.last_mut().unwrap().1.extend_from_slice(piece.bytes);
                    ended += usize::from(piece.ends_frame);
                }
                assert!(part.is_empty());
            }
            let want = vec![
                (Kind::Stdout, b"abc".to_vec()),
                (Kind::Stderr, vec![]),
                (Kind::Stdout, b"de".to_vec()),
            ];
            assert_eq!(got, want, "cut at {cut}");
            assert_eq!(ended, 3);
            assert!(frames.at_boundary());
        }
    }

    #[test]
    fn garbage_is_refused() {
        for header in [*b"HTTP/1.1", [1, 0, 0, 1, 0, 0, 0, 1], [4, 0, 0, 0, 0, 0, 0, 1]] {
            assert!(Frames::default().next(&mut &header[..]).is_err());
        }
    }
}
