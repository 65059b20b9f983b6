//! Where in an engine's answer a byte lies. It reads byte by byte and keeps no data, so that it owes nothing to the agent's
//! own decoders.

/// What a cut right behind a byte would fall into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Between head and body.
    Head,
    /// The line with a chunk's size.
    ChunkSize,
    /// The eight bytes before a frame's payload.
    FrameHeader,
    /// A frame's payload; of a TTY, everything.
    Payload,
    /// Between two frames or two chunks, or inside of the head.
    Elsewhere,
}

#[derive(Default)]
enum State {
    #[default]
    Head,
    ChunkSize,
    ChunkData(u64),
    /// The CR LF that follows a chunk's data: so many of its bytes are still to come.
    ChunkEnd(u8),
    /// A body without chunks, up to the connection's end.
    Data,
}

/// An answer, as far as it has come.
#[derive(Default)]
pub(super) struct Answer {
    state: State,
    /// The head, or a chunk-size line.
    text: Vec<u8>,
    frames: Frames,
}

impl Answer {
    /// Takes the next byte, and tells what a cut behind it would fall into.
    pub(super) fn take(&mut self, byte: u8) -> Place {
        match self.state {
            State::Head => {
                self.text.push(byte);
                if !self.text.ends_with(b"\r\n\r\n") {
                    return Place::Elsewhere;
                }
                let head = String::from_utf8_lossy(&self.text).to_ascii_lowercase();
                self.state = if head.contains("transfer-encoding: chunked") {
                    State::ChunkSize
                } else {
                    State::Data
                };
                self.text.clear();
                Place::Head
            }
            State::ChunkSize => {
                self.text.push(byte);
                if byte != b'\n' {
                    return Place::ChunkSize;
                }
                let digits = String::from_utf8_lossy(&self.text);
                let size = u64::from_str_radix(digits.trim(), 16).unwrap_or_else(|_| panic!("a chunk of {digits:?}"));
                self.text.clear();
                // The last one is empty, and what follows it looks like the end of any other.
                self.state = if size == 0 {
                    State::ChunkEnd(2)
                } else {
                    State::ChunkData(size)
                };
                Place::Elsewhere
            }
            State::ChunkData(left) => {
                self.state = if left == 1 {
                    State::ChunkEnd(2)
                } else {
                    State::ChunkData(left - 1)
                };
                self.frames.take(byte)
            }
            State::ChunkEnd(left) => {
                self.state = if left == 1 {
                    State::ChunkSize
                } else {
                    State::ChunkEnd(left - 1)
                };
                Place::Elsewhere
            }
            State::Data => self.frames.take(byte),
        }
    }
}

#[derive(Default)]
enum Frames {
    #[default]
    Start,
    Header {
        taken: u32,
        length: u32,
    },
    Payload(u32),
    /// A TTY's, or no log at all.
    Raw,
}

impl Frames {
    fn take(&mut self, byte: u8) -> Place {
        let place;
        (*self, place) = match *self {
            Frames::Start if byte > 3 => (Frames::Raw, Place::Payload),
            Frames::Start => (Frames::Header { taken: 1, length: 0 }, Place::FrameHeader),
            Frames::Header { taken, length } => {
                // The last four are the length, the highest first.
                let length = length << 8 | u32::from(byte);
                match (taken, length) {
                    (7, 0) => (Frames::Start, Place::Elsewhere),
                    (7, length) => (Frames::Payload(length), Place::Elsewhere),
                    (taken, length) => {
                        let taken = taken + 1;
                        (Frames::Header { taken, length }, Place::FrameHeader)
                    }
                }
            }
            Frames::Payload(1) => (Frames::Start, Place::Elsewhere),
            Frames::Payload(left) => (Frames::Payload(left - 1), Place::Payload),
            Frames::Raw => (Frames::Raw, Place::Payload),
        };
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(answer: &[u8]) -> String {
        let mut reader = Answer::default();
        let letter = |place| match place {
            Place::Head => 'H',
            Place::ChunkSize => 's',
            Place::FrameHeader => 'f',
            Place::Payload => 'p',
            Place::Elsewhere => '-',
        };
        answer.iter().map(|byte| letter(reader.take(*byte))).collect()
    }

    #[test]
    fn a_chunked_answer() {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "a\r\n\x01\0\0\0\0\0\0\x03ab\r\n1\r\nc\r\n0\r\n\r\n";
        let inside = "-".repeat(head.len() - 1);
        let found = places([head, body].concat().as_bytes());
        assert_eq!(found, format!("{inside}H{}", "ss-fffffff-pp--ss----ss---"));
    }

    #[test]
    fn an_answer_of_a_tty_without_chunks() {
        let head = "HTTP/1.1 200 OK\r\n\r\n";
        let found = places([head, "2026"].concat().as_bytes());
        assert_eq!(found, format!("{}Hpppp", "-".repeat(head.len() - 1)));
    }
}
