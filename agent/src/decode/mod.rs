//! Bytes that an engine sent or its log driver wrote, to lines. Pure: no I/O, and each decoder can be fed from anywhere,
//! cut anywhere.
//!
//! | file | what is in it |
//! |---|---|
//! | `body` | the body of a logs response: transfer coding, then framing, then lines |
//! | `chunked` | the chunked transfer coding (RFC 9112, section 7.1) |
//! | `frame` | stdout and stderr in one stream |
//! | `lines` | messages, with their times |
//! | `file` | a log driver's files, in any of their formats |
//! | `json_file`, `local`, `k8s_file` | the records of each format |
//! | `records` | what the formats have in common: records, and damage between them |
//! | `merge` | parts of a long line to the line, wherever they came from |
//! | `timestamp` | RFC 3339, as engines write it |
//! | `unescape`, `protobuf` | the text of a JSON string; the fields of a message |

mod body;
mod chunked;
mod error;
mod file;
mod frame;
mod json_file;
mod k8s_file;
mod lines;
mod local;
mod merge;
mod protobuf;
mod records;
mod timestamp;
mod unescape;

pub use body::{Decoder, Transfer};
pub use chunked::Chunked;
pub use error::DecodeError;
pub use file::{FileDecoder, Format};
pub use frame::{Frames, Kind};
pub use protobuf::{Value, field};
pub use records::{Damaged, Fed, Found, LONGEST};
