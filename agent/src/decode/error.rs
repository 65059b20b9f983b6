//! What is wrong with the bytes of a log.

/// Bytes of a log stream that no engine would send, or an error that the engine sent in it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The length or the end of a chunk is malformed. The text says which.
    #[error("chunked body is malformed: {0}")]
    Chunk(&'static str),
    /// The header of a frame. No engine sends such a one.
    #[error("frame header {0:02x?} is not one of a multiplexed log stream")]
    Frame([u8; 8]),
    /// The stream's first byte.
    #[error("log stream starts with byte {0:#04x}, which neither a frame nor a timestamp does")]
    NotALog(u8),
    /// The start of the message. The agent asks for times, so every message must begin with one.
    #[error("message has no timestamp where one must be: {0:?}")]
    NoTime(String),
    /// A frame of type 3: the engine's own words.
    #[error("engine: {0}")]
    Engine(String),
}
