//! From a line to the bytes that a sink gets. Pure.

mod fields;
mod json;

pub use fields::Fields;
pub use json::{Decoded, Encoder, Tail};
