//! The Docker Engine API client.
pub mod chunked;
pub mod decode;
pub mod error;
pub mod frame;
pub mod lines;
pub mod timestamp;
