//! From a line to the bytes that a sink gets. Pure.

mod entry;
mod fields;
mod json;
mod loki;
mod otlp;
mod protobuf;
mod span;

pub use entry::{Encode, Entry};
pub use fields::Fields;
pub use json::{Decoded, Encoder, Origin, Tail, is_begun};
pub use loki::Loki;
pub use otlp::Otlp;
pub use protobuf::Begun;
pub use span::{Span, Writing};
