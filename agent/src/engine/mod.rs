//! The Docker Engine API client.
//!
//! | file | what is in it |
//! |---|---|
//! | `socket` | a connected socket, in the register while it is open |
//! | `connection` | HTTP/1.1 over it; one owner, no task behind it |
//! | `pool` | keep-alive connections for short requests |
//! | `api` | the endpoints, and the version |
//! | `events` | the event stream |
//! | `log_stream` | a container's log, followed |
//! | `decode` | its bytes to lines: `chunked`, then `frame`, then `lines`; all pure |

mod api;
pub mod chunked;
mod connection;
pub mod decode;
mod error;
mod events;
pub mod frame;
mod lines;
mod log_stream;
mod metrics;
mod pool;
mod socket;
mod timestamp;

pub use api::{ApiVersion, Engine, Listed, Since, Until};
pub use connection::{Limits, Opener};
pub use error::{DecodeError, EngineError};
pub use events::{Action, Event, Events};
pub use log_stream::{LogStream, Progress};
pub use metrics::Metrics;
pub use pool::Size;
