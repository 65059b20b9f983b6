//! The Docker Engine API client.
//!
//! | file | what is in it |
//! |---|---|
//! | `transport` | a connection, over unix sockets, TCP or TLS |
//! | `guard` | whether the engine is asked, how often, and when again |
//! | `pool` | keep-alive connections for short requests, and whether they are well |
//! | `options` | the bounds of all these, from the configuration |
//! | `requests` | a request's way through all of these |
//! | `api`, `listed`, `inspected`, `version` | the endpoints |
//! | `shorten` | answers in which one container takes too much room |
//! | `error` | what can go wrong: a connection, a bound, an answer, or a log's bytes |
//! | `events` | the event stream |
//! | `log_stream` | a container's log, followed |
//! | `store` | a store of logs, which takes records over connections of the same kind |

mod api;
mod error;
mod events;
mod guard;
mod inspected;
mod listed;
mod log_stream;
mod metrics;
mod options;
mod pool;
mod requests;
mod shorten;
mod store;
mod transport;
mod version;

pub use api::{Engine, Newest};
pub use error::EngineError;
pub use events::{Action, Event, Events, Told};
pub use guard::{Delays, Rate, Refusal, Retry, Signs, Thresholds, Verdict};
pub use inspected::Inspected;
pub use listed::{List, Listed};
pub use log_stream::{LogStream, Progress};
pub use metrics::Metrics;
pub use options::Options;
pub use pool::{Checks, Size};
pub use store::{Reply, Store, StoreError};
pub use transport::{Endpoint, EndpointError, Limits, Opener, Tls, TransportError};
pub use version::ApiVersion;
