//! The chunked transfer coding (RFC 9112, section 7.1), decoded in place.
//!
//! The engine writes one chunk for each line, so this runs once a line: it lends slices of
//! the read buffer and never copies. hyper's own body would cost an allocation a chunk.

use super::error::DecodeError;

/// Longest chunk-size line with its extensions, and longest trailer section, that is
/// accepted from a peer.
const LIMIT: u16 = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Reading the hexadecimal size; `digits` seen so far.
    #[default]
    Size,
    /// After the size: extensions, up to the line feed.
    SizeLine,
    Data,
    /// The CR LF that follows a chunk's data.
    DataEnd,
    /// At the start of a line of the trailer section.
    TrailerStart,
    Trailer,
    Done,
}

/// Decodes a chunked body, whatever the boundaries at which it arrives.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    size: u64,
    digits: u8,
    /// Bytes of the present size line or of the trailer section.
    line: u16,
    /// The last byte was a CR: nothing but a line feed may follow (RFC 9112, section 2.2).
    cr: bool,
}

impl Chunked {
    /// The next stretch of body data, or `None` when `input` is used up or the body has ended.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, DecodeError> {
        loop {
            if self.state == State::Data {
                if input.is_empty() {
                    return Ok(None);
                }
                let take = usize::try_from(self.size).map_or(input.len(), |n| n.min(input.len()));
                let (data, rest) = input.split_at(take);
                *input = rest;
                self.size -= take as u64;
                if self.size == 0 {
                    self.state = State::DataEnd;
                }
                return Ok(Some(data));
            }
            if self.state == State::Done {
                return Ok(None);
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            self.framing(byte)?;
        }
    }

    /// Whether the last chunk and the trailer have been seen: the peer ended the body itself,
    /// and was not cut off.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// One byte that is not data.
    fn framing(&mut self, byte: u8) -> Result<(), DecodeError> {
        if std::mem::replace(&mut self.cr, byte == b'\r') && byte != b'\n' {
            return Err(DecodeError::Chunk("CR without a line feed"));
        }
        self.state = match (self.state, byte) {
            (State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // Sixteen digits fill a u64.
                if self.digits == 16 {
                    return Err(DecodeError::Chunk("size too large"));
                }
                self.digits += 1;
                let digit = (byte as char).to_digit(16).unwrap_or_default();
                self.size = self.size << 4 | u64::from(digit);
                State::Size
            }
            (State::Size, b'\r' | b';' | b' ' | b'\t') if self.digits > 0 => State::SizeLine,
            (State::Size | State::SizeLine, b'\n') if self.digits > 0 => {
                self.digits = 0;
                self.line = 0;
                if self.size == 0 {
                    State::TrailerStart
                } else {
                    State::Data
                }
            }
            (State::Size, _) => return Err(DecodeError::Chunk("size is not hexadecimal")),
            (State::SizeLine, _) => self.within_limit(State::SizeLine)?,
            (State::DataEnd, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::Size,
            (State::DataEnd, _) => return Err(DecodeError::Chunk("data longer than its size")),
            (State::TrailerStart, b'\r') => State::TrailerStart,
            (State::TrailerStart, b'\n') => State::Done,
            (State::Trailer, b'\n') => State::TrailerStart,
            (State::TrailerStart | State::Trailer, _) => self.within_limit(State::Trailer)?,
            (State::Data | State::Done, _) => self.state,
        };
        Ok(())
    }

    fn within_limit(&mut self, next: State) -> Result<State, DecodeError> {
        self.line += 1;
        if self.line > LIMIT {
            return Err(DecodeError::Chunk("extension or trailer too long"));
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), DecodeError> {
        let mut chunked = Chunked::default();
        let mut body = Vec::new();
        for mut piece in pieces.iter().copied() {
            while let Some(data) = chunked.next(&mut piece)? {
                body.extend_from_slice(data);
            }
            if !chunked.is_done() {
                assert!(piece.is_empty(), "input left over");
            }
        }
        Ok((body, chunked.is_done()))
    }

    #[test]
    fn split_anywhere() {
        let wire = b"5\r\nhello\r\nB;x=y\r\n wide world\r\n0\r\nTrailer: a\r\n\r\n";
        for cut in 0..wire.len() {
            let (body, done) = decode(&[&wire[..cut], &wire[cut..]]).unwrap();
            assert_eq!(body, b"hello wide world");
            assert!(done);
        }
        let single: Vec<&[u8]> = wire.chunks(1).collect();
        assert_eq!(decode(&single).unwrap().0, b"hello wide world");
    }

    #[test]
    fn a_cut_body_is_not_done() {
        let (body, done) = decode(&[b"5\r\nhello\r\n"]).unwrap();
        assert_eq!(body, b"hello");
        assert!(!done);
    }

    #[test]
    fn garbage_is_refused() {
        assert!(decode(&[b"\r\n"]).is_err());
        assert!(decode(&[b"xyz\r\n"]).is_err());
        assert!(decode(&[b"2\r\nabc\r\n"]).is_err());
        assert!(decode(&[b"11111111111111111\r\n"]).is_err());
        assert!(decode(&[b"1;", &[b'x'; 5000]]).is_err());
        assert!(decode(&[b"0\r\n", &[b'x'; 5000]]).is_err());
        for bare in [
            "1\r\r\na\r\n",
            "1;\ra\r\na\r\n",
            "1\r\na\r\r\n",
            "0\r\n\r\r\n",
            "0\r\nA: \rb\r\n\r\n",
        ] {
            assert!(decode(&[bare.as_bytes()]).is_err(), "{bare:?}");
        }
    }
}
