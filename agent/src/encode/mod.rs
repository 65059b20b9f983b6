//! From a line to the bytes that a sink gets. Pure.

mod fields;
mod json;
mod loki;
mod protobuf;
mod span;

pub use fields::Fields;
pub use json::{Decoded, Encoder, Origin, Tail, is_begun};
pub use loki::{Entry, Loki};
pub use protobuf::Begun;
pub use span::{Span, Writing};
