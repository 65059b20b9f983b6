//! The Docker Engine API client.
//!
//! | file | what is in it |
//! |---|---|
//! | `endpoint` | where the engine is, and the way there: unix, TCP, TLS |
//! | `resolve`, `tls` | its host's addresses; certificates, and what is wrong with them |
//! | `link` | a connected descriptor, in the register while it is open |
//! | `socket` | one with a link or a TLS session in it: what hyper and the decoder read from |
//! | `connection` | HTTP/1.1 over it; one owner, no task behind it |
//! | `pool` | keep-alive connections for short requests, and whether they are well |
//! | `breaker`, `rate`, `retry` | whether the engine is asked, how often, and when again |
//! | `health` | how well the engine is, from several signs |
//! | `options` | the bounds of all these, from the configuration |
//! | `requests` | a request's way through all of these |
//! | `api`, `listed`, `version` | the endpoints |
//! | `events` | the event stream |
//! | `log_stream` | a container's log, followed |
//! | `decode` | its bytes to lines: `chunked`, then `frame`, then `lines`; all pure |

mod api;
mod breaker;
pub mod chunked;
mod connection;
pub mod decode;
mod endpoint;
mod error;
mod events;
pub mod frame;
mod health;
mod lines;
mod link;
mod listed;
mod log_stream;
mod metrics;
mod options;
mod pool;
mod rate;
mod requests;
mod resolve;
mod retry;
mod socket;
mod timestamp;
mod tls;
mod version;

pub use api::{Engine, Since, Until};
pub use breaker::Thresholds;
pub use connection::{Limits, Opener};
pub use endpoint::{Endpoint, EndpointError};
pub use error::{DecodeError, EngineError};
pub use events::{Action, Event, Events};
pub use health::{Signs, Verdict};
pub use listed::Listed;
pub use log_stream::{LogStream, Progress};
pub use metrics::Metrics;
pub use options::Options;
pub use pool::{Checks, Size};
pub use rate::Rate;
pub use retry::{Delays, Retry};
pub use tls::Tls;
pub use version::ApiVersion;
