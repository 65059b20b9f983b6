//! From a line to the bytes that a sink gets. Pure.

mod fields;
mod json;
mod span;

pub use fields::Fields;
pub use json::{Decoded, Encoder, Tail, is_begun};
pub use span::{Span, Writing};
