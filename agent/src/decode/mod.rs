//! Bytes that an engine sent, to lines. Pure: no I/O, and each decoder can be fed from anywhere, cut anywhere.
//!
//! | file | what is in it |
//! |---|---|
//! | `body` | the body of a logs response: transfer coding, then framing, then lines |
//! | `chunked` | the chunked transfer coding (RFC 9112, section 7.1) |
//! | `frame` | stdout and stderr in one stream |
//! | `lines` | times, and the parts of long lines |
//! | `timestamp` | RFC 3339, as engines write it |

mod body;
mod chunked;
mod error;
mod frame;
mod lines;
mod timestamp;

pub use body::{Decoder, Transfer};
pub use chunked::Chunked;
pub use error::DecodeError;
pub use frame::{Frames, Kind};
